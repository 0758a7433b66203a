"""Latent charges: numbers that interact as charges do, without labels and without a total."""

from __future__ import annotations

from torch import Tensor, nn

from eqff.data.fields import Field, declare
from eqff.data.graph import AtomicGraph
from eqff.parts import Fields, Head
from eqff.ranges import Positive

declare(Field("latent_charges", "atom", (), "0e", "e", "charges that energies and forces alone determine", "internal"))


class LatentCharges(Head):
    """q_i linear in the scalars of every pass, to be learned from energies and forces through their Coulomb sum.

    Latent Ewald summation, LES [Cheng, npj Comput. Mater. 11, 80 (2025)]. The charges need not sum to the total charge;
    under periodic boundaries a neutralising background balances them.

    Args:
        channels: Channels of the backbone.
        num_passes: Passes of the backbone.
        scale: e; times what is read.
    """

    reads = ("pass_scalars",)
    writes = ("latent_charges",)

    def __init__(self, channels: int, num_passes: int, scale: Positive = 0.1):
        super().__init__()
        self.linear = nn.Linear(channels * num_passes, 1, bias=False)
        self.scale = scale

    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """``latent_charges`` in e, (N,)."""
        return {"latent_charges": self.scale * self.linear(fields["pass_scalars"].flatten(1))[:, 0]}
