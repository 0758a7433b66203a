"""Charges and spin charges at the end: two spin channels with exact totals, read from the features of every pass."""

from __future__ import annotations

from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.nn.equilibration import SpinChannels
from eqff.parts import Fields, Head
from eqff.ranges import Positive, Size


class SpinChannelCharges(Head):
    """Charges with Σ q = Q and spin charges with Σ s = n_u, where the passes know nothing of them.

    The equilibration of AIMNet-NSE [Zubatyuk et al., Nat. Commun. 12, 4870 (2021)] as a readout after the last pass.
    The exchange `eqff.exchange.spin_equilibration.NeutralSpinEquilibration` is the same inside of the passes.

    Args:
        channels: Channels of the backbone.
        num_passes: Passes of the backbone.
        hidden: Width of the nonlinear readout; 0 for a linear one alone.
        broken_symmetry: Whether singlets may have spin charges, see `SpinChannels`.
        scale: e; times what is read: fresh models begin near neutral atoms, and charges change in small steps.
    """

    reads = ("pass_scalars", "total_charge", "multiplicity")
    writes = ("charges", "spin_charges")

    def __init__(
        self,
        channels: int,
        num_passes: int,
        hidden: Size = 32,
        broken_symmetry: bool = False,
        scale: Positive = 0.1,
    ):
        super().__init__()
        self.spin_channels = SpinChannels(channels * num_passes, hidden, broken_symmetry, scale)

    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """``charges`` in e and ``spin_charges``, (N,) each."""
        scalars = fields["pass_scalars"].flatten(1)
        charges, spins = self.spin_channels(scalars, graph.total_charge, graph.multiplicity, graph.batch)
        return {"charges": charges, "spin_charges": spins}
