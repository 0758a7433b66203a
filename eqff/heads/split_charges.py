"""Split-charge equilibration (SQE), with bond hardnesses from the environment."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from eqff.data.graph import AtomicGraph
from eqff.heads.charge_transfer import ChargeTransferHead
from eqff.longrange.kernels import smooth_end
from eqff.nn.equilibration import Readout
from eqff.parts import Fields
from eqff.ranges import Positive, Size

FADE = 0.6
"""Share of a bond's reach at which its softness begins to fade out."""


class SplitCharges(ChargeTransferHead):
    """Split-charge equilibration (SQE) with bond hardnesses from the environments of both atoms.

    Charge p_ij flows over each bond at the cost kappa_ij p_ij²/2; 1/kappa_ij is positive, read from the sum of both
    atoms' scalars, and ends smoothly at the bond cutoff. Fragments without bonds between them keep their charges.
    [Nistor et al., J. Chem. Phys. 125, 094108 (2006)]

    Args:
        channels: Channels of the backbone.
        num_passes: Passes of the backbone.
        elements: Atomic numbers covered.
        bond_hardness: kappa of short bonds at the start, eV/e².
        bond_cutoff: Å; no charge flows over longer distances.
        hidden: Width of the nonlinear readouts; 0 for linear ones alone.

    Other arguments are those of `ChargeTransferHead`.
    """

    def __init__(
        self,
        channels: int,
        num_passes: int,
        elements: tuple[int, ...],
        bond_hardness: Positive = 4.0,
        bond_cutoff: Positive = 3.0,
        hidden: Size = 32,
        **settings: Any,
    ):
        super().__init__(channels, num_passes, elements, bond_cutoff, hidden=hidden, **settings)
        self.bond = Readout(channels * num_passes, 1, hidden, bias=False)
        self.raw_softness = nn.Parameter(torch.tensor(math.log(math.expm1(1 / bond_hardness))))

    def softness(self, graph: AtomicGraph, fields: Fields) -> Tensor:
        """See `ChargeTransferHead.softness`."""
        bonds = graph.local
        read = self.bond(fields["pass_scalars"].flatten(1))[:, 0]
        both = read[bonds.sender] + read[bonds.receiver]
        fade = smooth_end(bonds.lengths, FADE * self.bond_cutoff, self.bond_cutoff)
        return fade * nn.functional.softplus(self.raw_softness + both)
