"""Charges that minimise an electrostatic energy whose parameters are read from the environment: QEq, CENT."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from eqff.data.fields import Field, declare
from eqff.data.graph import AtomicGraph
from eqff.longrange.equilibration import equilibrate
from eqff.longrange.interaction import LatticeInteraction
from eqff.longrange.kernels import GaussianKernel
from eqff.nn.species import SpeciesIndex
from eqff.parts import Fields, Head
from eqff.ranges import Count, InnerShare, Positive, Size

declare(Field("electronegativity", "atom", (), "0e", "eV/e", "electronegativity chi", "internal"))
declare(Field("hardness", "atom", (), "0e", "eV/e²", "hardness J without the charge's own Coulomb energy", "internal"))
declare(Field("gaussian_widths", "atom", (), "0e", "Å", "w of the charge density exp(-r²/w²)", "internal"))
declare(Field("equilibration_energy", "structure", (), "0e", "eV", "energy that the charges minimise", "internal"))


class ChargeEquilibration(Head):
    """The charges with least sum_i (chi_i q_i + J_i q_i²/2) + their Coulomb energy, at the structure's total charge.

    Electronegativities chi are read from the scalars of every pass; hardness J and width of the Gaussian charges are
    learned per element and positive. Because Coulomb energies of spread charges are never negative, a positive J is
    enough for the minimum to exist. [CENT: Ghasemi et al., Phys. Rev. B 92, 045131 (2015); 4G-HDNNP: Ko et al., Nat.
    Commun. 12, 398 (2021)]

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
        dense_up_to: Atoms of the largest structure of a batch up to which matrices are factorised; beyond, conjugate
            gradients.
        tolerance: Relative residual of conjugate gradients.
        max_iterations: After which they are an error.
    """

    reads = ("pass_scalars", "numbers", "positions", "total_charge")
    writes = ("charges", "electronegativity", "hardness", "gaussian_widths", "equilibration_energy")

    def __init__(
        self,
        channels: int,
        num_passes: int,
        elements: tuple[int, ...],
        hidden: Size = 32,
        hardness: Positive = 8.0,
        max_width: Positive = 1.5,
        cutoff: Positive = 8.0,
        accuracy: InnerShare = 1e-5,
        mesh_from: Count = 500,
        dense_up_to: Count = 499,
        tolerance: Positive = 1e-8,
        max_iterations: Count = 500,
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
        self.max_width, self.dense_up_to = max_width, dense_up_to
        self.tolerance, self.max_iterations = tolerance, max_iterations
        self.interaction = LatticeInteraction(GaussianKernel(), cutoff, accuracy, mesh_from, include_self=True)
        # refused here rather than when a width has grown
        self.interaction.require_reach(torch.tensor([max_width]))

    @property
    def neighbour_lists(self) -> dict[str, float]:
        """Those of the Coulomb sum."""
        return self.interaction.neighbour_lists

    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """``charges`` (N,), what they follow from, and ``equilibration_energy`` (B,).

        Raises:
            ModelError: Conjugate gradients did not converge.
        """
        scalars = fields["pass_scalars"].flatten(1)
        chi = self.linear(scalars)[:, 0]
        if self.nonlinear is not None:
            chi = chi + self.nonlinear(scalars)[:, 0]
        element = self.species(graph.numbers)
        hardness = nn.functional.softplus(self.raw_hardness)[element]
        widths = self.max_width * torch.sigmoid(self.raw_width)[element]
        largest = int(torch.bincount(graph.batch, minlength=1).max())
        found = equilibrate(
            graph,
            self.interaction,
            chi,
            hardness,
            widths,
            iterative=largest > self.dense_up_to,
            tolerance=self.tolerance,
            max_iterations=self.max_iterations,
        )
        return {
            "charges": found.charges.to(chi.dtype),
            "electronegativity": chi,
            "hardness": hardness,
            "gaussian_widths": widths,
            "equilibration_energy": found.energy,
        }
