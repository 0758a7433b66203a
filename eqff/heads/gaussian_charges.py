"""What heads that equilibrate Gaussian charges share: their parameters, read from the environment or learned."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from eqff.contributions import coulomb_energy, external_energy, field_energy
from eqff.data.fields import Field, declare
from eqff.data.graph import AtomicGraph
from eqff.heads.equilibrating import EquilibratingHead
from eqff.longrange.equilibration import Equilibrated
from eqff.longrange.external import external_fields
from eqff.longrange.interaction import LatticeInteraction
from eqff.longrange.kernels import GaussianKernel
from eqff.nn.species import SpeciesIndex
from eqff.parts import Fields
from eqff.ranges import Positive, Size

declare(Field("electronegativity", "atom", (), "0e", "eV/e", "electronegativity chi", "internal"))
declare(Field("hardness", "atom", (), "0e", "eV/e²", "hardness J without the charge's own Coulomb energy", "internal"))
declare(Field("gaussian_widths", "atom", (), "0e", "Å", "w of the charge density exp(-r²/w²)", "internal"))
declare(Field("equilibration_energy", "structure", (), "0e", "eV", "energy that the charges minimise", "internal"))


class GaussianParameters(NamedTuple):
    """What the energy of Gaussian charges is made of.

    Attributes:
        chi: Electronegativity, V, (N,).
        hardness: J, eV/e², (N,).
        widths: Å, (N,).
    """

    chi: Tensor
    hardness: Tensor
    widths: Tensor


class GaussianChargeHead(EquilibratingHead):
    """Electronegativities chi from the scalars of every pass; hardness J and width of each element, positive.

    Because Coulomb energies of spread charges are never negative, a positive J is enough for charges of least energy to
    exist. Subclasses say how charges may move. The potential of external charges, averaged over the atom's Gaussian, is
    added to its chi.

    Args:
        channels: Channels of the backbone.
        num_passes: Passes of the backbone.
        elements: Atomic numbers covered.
        hidden: Width of the nonlinear readout of chi; 0 for a linear one alone.
        hardness: J of every element at the start, eV/e².
        max_width: Å; widths stay below. They start at the covalent radii.

    Other arguments are those of `EquilibratingHead`.
    """

    reads: tuple[str, ...] = (
        *("pass_scalars", "numbers", "positions", "total_charge"),
        *("electric_field", "external_charges"),
    )
    writes: tuple[str, ...] = (
        "charges",
        "electronegativity",
        "hardness",
        "gaussian_widths",
        "equilibration_energy",
    )
    holds = (coulomb_energy("charges"), field_energy("charges"), external_energy("charges"))

    def __init__(
        self,
        channels: int,
        num_passes: int,
        elements: tuple[int, ...],
        hidden: Size = 32,
        hardness: Positive = 8.0,
        max_width: Positive = 1.5,
        **settings: Any,
    ):
        super().__init__(**settings)
        from ase.data import covalent_radii

        self.species = SpeciesIndex(elements)
        size = channels * num_passes
        # a constant in chi cancels under the constraint: the linear readout has no bias, elements have their own
        self.linear = nn.Linear(size, 1, bias=False)
        self.nonlinear = None
        if hidden:
            self.nonlinear = nn.Sequential(nn.Linear(size, hidden), nn.SiLU(), nn.Linear(hidden, 1, bias=False))
        self.raw_hardness = nn.Parameter(torch.full((len(elements),), math.log(math.expm1(hardness))))
        share = torch.tensor([min(float(covalent_radii[z]) / max_width, 0.9) for z in elements])
        self.raw_width = nn.Parameter(torch.logit(share))
        self.max_width = max_width
        self.interaction = LatticeInteraction(GaussianKernel(), *self.lattice_settings, include_self=True)
        # refused here rather than when a width has grown
        self.interaction.require_reach(torch.tensor([max_width]))

    @abstractmethod
    def equilibrated(
        self, graph: AtomicGraph, fields: Fields, parameters: GaussianParameters, options: dict[str, Any]
    ) -> Equilibrated:
        """Charges and their energy, with ``options`` for the solver."""

    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """``charges`` (N,), what they follow from, and ``equilibration_energy`` (B,).

        Raises:
            ModelError: Conjugate gradients did not converge, a field acts along a lattice vector, a structure is
                charged that is not to be, or one among external charges is periodic.
        """
        if not graph.open:
            self.charged_cells.check(graph, graph.total_charge)
        parameters = self.parameters_of(graph, fields)
        found = self.equilibrated(graph, fields, surrounded(graph, parameters), self.solver.options(graph))
        return {
            "charges": found.charges.to(parameters.chi.dtype),
            "electronegativity": parameters.chi,
            "hardness": parameters.hardness,
            "gaussian_widths": parameters.widths,
            "equilibration_energy": found.energy,
        } | {name: values.to(parameters.chi.dtype) for name, values in found.others.items()}

    def parameters_of(self, graph: AtomicGraph, fields: Fields) -> GaussianParameters:
        """Of each atom."""
        scalars = fields["pass_scalars"].flatten(1)
        chi = self.linear(scalars)[:, 0]
        if self.nonlinear is not None:
            chi = chi + self.nonlinear(scalars)[:, 0]
        element = self.species(graph.numbers)
        hardness = nn.functional.softplus(self.raw_hardness)[element]
        return GaussianParameters(chi, hardness, self.max_width * torch.sigmoid(self.raw_width)[element])


def surrounded(graph: AtomicGraph, parameters: GaussianParameters) -> GaussianParameters:
    """The same with the potential of external charges, if there are some, added to chi."""
    outside = external_fields(graph, 0, parameters.widths)
    return parameters if outside is None else parameters._replace(chi=parameters.chi + outside.potential)
