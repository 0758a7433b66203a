"""ACKS2: charges with a response kernel that fades with distance."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from eqff.data.graph import AtomicGraph
from eqff.heads.charge_transfer import ChargeTransferHead
from eqff.parts import Fields
from eqff.ranges import Positive

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
        softness: X0 at the start, e²/eV.
        bond_cutoff: Å; each element's b stays below. It starts at 0.8 of that.

    Other arguments are those of `ChargeTransferHead`.
    """

    def __init__(
        self,
        channels: int,
        num_passes: int,
        elements: tuple[int, ...],
        softness: Positive = 0.5,
        bond_cutoff: Positive = 4.0,
        **settings: Any,
    ):
        super().__init__(channels, num_passes, elements, bond_cutoff, **settings)
        self.raw_softness = nn.Parameter(torch.tensor(math.log(math.expm1(softness))))
        self.raw_reach = nn.Parameter(torch.full((len(elements),), math.log(0.8 / 0.2)))

    def softness(self, graph: AtomicGraph, fields: Fields) -> Tensor:
        """See `ChargeTransferHead.softness`."""
        bonds = graph.local
        reach = (self.bond_cutoff * torch.sigmoid(self.raw_reach))[self.species(graph.numbers)]
        t = (2 * bonds.lengths / (reach[bonds.sender] + reach[bonds.receiver])).clamp(max=1.0)
        return nn.functional.softplus(self.raw_softness) * t**3 * (1 - t) ** 6 / HIGHEST
