"""ACKS2: charges with a response kernel that fades with distance."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from eqff.data.graph import AtomicGraph
from eqff.heads.charge_transfer import ChargeTransferHead, Initial
from eqff.parts import Fields
from eqff.ranges import Count, InnerShare, Positive, Size

HIGHEST = (1 / 3) ** 3 * (2 / 3) ** 6
"""Of t³ (1 - t)⁶."""


class ACKS2(ChargeTransferHead):
    """Atom-condensed Kohn-Sham DFT to second order: a response kernel that fades with distance.

    The kernel is that of its form for reactive force fields, X_ij proportional to t³ (1 - t)⁶ with t = 2 r_ij / (b_i +
    b_j) up to one; its highest value X0 and each element's reach b are learned. Polarisability grows linearly with
    size, and fragments further apart than the reach keep their charges. [Verstraelen et al., J. Chem. Phys. 138, 074108
    (2013); O'Hearn, Alperen and Aktulga, SIAM J. Sci. Comput. 42, C1 (2020)]

    Args:
        channels: Channels of the backbone.
        num_passes: Passes of the backbone.
        elements: Atomic numbers covered.
        hidden: Width of the nonlinear readouts; 0 for linear ones alone.
        hardness: J of every element at the start, eV/e².
        softness: X0 at the start, e²/eV.
        bond_cutoff: Å; each element's b stays below. It starts at 0.8 of that.
        initial: Where charges flow from: "even", the total charge shared evenly; "learned", charges read from the
            environment.
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
        softness: Positive = 0.5,
        bond_cutoff: Positive = 4.0,
        initial: Initial = "even",
        max_width: Positive = 1.5,
        cutoff: Positive = 8.0,
        accuracy: InnerShare = 1e-5,
        mesh_from: Count = 500,
        dense_up_to: Count = 499,
        tolerance: Positive = 1e-8,
        max_iterations: Count = 500,
    ):
        super().__init__(
            channels,
            num_passes,
            elements,
            hidden,
            hardness,
            max_width,
            cutoff,
            accuracy,
            bond_cutoff,
            initial,
            mesh_from,
            dense_up_to,
            tolerance,
            max_iterations,
        )
        self.raw_softness = nn.Parameter(torch.tensor(math.log(math.expm1(softness))))
        self.raw_reach = nn.Parameter(torch.full((len(elements),), math.log(0.8 / 0.2)))

    def softness(self, graph: AtomicGraph, fields: Fields) -> Tensor:
        """See `ChargeTransferHead.softness`."""
        bonds = graph.local
        reach = (self.bond_cutoff * torch.sigmoid(self.raw_reach))[self.species(graph.numbers)]
        t = (2 * bonds.lengths / (reach[bonds.sender] + reach[bonds.receiver])).clamp(max=1.0)
        return nn.functional.softplus(self.raw_softness) * t**3 * (1 - t) ** 6 / HIGHEST
