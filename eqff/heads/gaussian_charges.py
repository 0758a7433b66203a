"""What heads that equilibrate Gaussian charges share: their parameters, read from the environment or learned."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from eqff.data.fields import Field, declare
from eqff.data.graph import AtomicGraph
from eqff.longrange.equilibration import Equilibrated
from eqff.longrange.interaction import LatticeInteraction
from eqff.longrange.kernels import GaussianKernel
from eqff.nn.species import SpeciesIndex
from eqff.parts import Fields, Head

declare(Field("electronegativity", "atom", (), "0e", "eV/e", "electronegativity chi", "internal"))
declare(Field("hardness", "atom", (), "0e", "eV/e²", "hardness J without the charge's own Coulomb energy", "internal"))
declare(Field("gaussian_widths", "atom", (), "0e", "Å", "w of the charge density exp(-r²/w²)", "internal"))
declare(Field("equilibration_energy", "structure", (), "0e", "eV", "energy that the charges minimise", "internal"))


class GaussianChargeHead(Head):
    """Electronegativities chi from the scalars of every pass; hardness J and width of each element, positive.

    Because Coulomb energies of spread charges are never negative, a positive J is enough for charges of least energy to
    exist. Subclasses say how charges may move.

    Args:
        channels: Channels of the backbone.
        num_passes: Passes of the backbone.
        elements: Atomic numbers covered.
        hidden: Width of the nonlinear readout of chi; 0 for a linear one alone.
        hardness: J of every element at the start, eV/e².
        max_width: Å; widths stay below. They start at the covalent radii.
        cutoff: Of neighbours in periodic structures, Å; a Gaussian of the largest width has to end within.
        accuracy: Of lattice sums.
        mesh_from: Atoms from which on periodic structures are summed on a mesh.
    """

    reads: tuple[str, ...] = ("pass_scalars", "numbers", "positions", "total_charge", "electric_field")
    writes: tuple[str, ...] = (
        "charges",
        "electronegativity",
        "hardness",
        "gaussian_widths",
        "equilibration_energy",
    )

    def __init__(
        self,
        channels: int,
        num_passes: int,
        elements: tuple[int, ...],
        hidden: int,
        hardness: float,
        max_width: float,
        cutoff: float,
        accuracy: float,
        mesh_from: int,
    ):
        super().__init__()
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
        self.interaction = LatticeInteraction(GaussianKernel(), cutoff, accuracy, mesh_from, include_self=True)
        # refused here rather than when a width has grown
        self.interaction.require_reach(torch.tensor([max_width]))

    @property
    def neighbour_lists(self) -> dict[str, float]:
        """Those of the Coulomb sum."""
        return self.interaction.neighbour_lists

    def parameters_of(self, graph: AtomicGraph, fields: Fields) -> tuple[Tensor, Tensor, Tensor]:
        """chi in V, J in eV/e² and widths in Å, (N,) each."""
        scalars = fields["pass_scalars"].flatten(1)
        chi = self.linear(scalars)[:, 0]
        if self.nonlinear is not None:
            chi = chi + self.nonlinear(scalars)[:, 0]
        element = self.species(graph.numbers)
        hardness = nn.functional.softplus(self.raw_hardness)[element]
        return chi, hardness, self.max_width * torch.sigmoid(self.raw_width)[element]

    def written(self, found: Equilibrated, chi: Tensor, hardness: Tensor, widths: Tensor) -> dict[str, Tensor]:
        """The fields named in ``writes``."""
        return {
            "charges": found.charges.to(chi.dtype),
            "electronegativity": chi,
            "hardness": hardness,
            "gaussian_widths": widths,
            "equilibration_energy": found.energy,
        }
