"""Charges that minimise an electrostatic energy whose parameters are read from the environment: QEq, CENT."""

from __future__ import annotations

import torch
from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.heads.gaussian_charges import GaussianChargeHead
from eqff.longrange.equilibration import equilibrate
from eqff.parts import Fields
from eqff.ranges import Count, InnerShare, Positive, Size


class ChargeEquilibration(GaussianChargeHead):
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
        super().__init__(channels, num_passes, elements, hidden, hardness, max_width, cutoff, accuracy, mesh_from)
        self.dense_up_to, self.tolerance, self.max_iterations = dense_up_to, tolerance, max_iterations

    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """``charges`` (N,), what they follow from, and ``equilibration_energy`` (B,).

        Raises:
            ModelError: Conjugate gradients did not converge.
        """
        chi, hardness, widths = self.parameters_of(graph, fields)
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
        return self.written(found, chi, hardness, widths)
