"""Charges with an exact total inside of the message passing: one channel, no spin."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from eqff.data.graph import AtomicGraph
from eqff.exchange.feedback import Feedback
from eqff.nn.equilibration import Readout, Weights, sharing
from eqff.nn.reduce import segment_sum
from eqff.parts import Exchange, Fields
from eqff.ranges import Positive, Size


class NeutralChargeEquilibration(Exchange):
    """After each pass, charges that sum to Q, which the next pass sees; as in AIMNet2 with learned weights.

    `NeutralSpinEquilibration` with one channel [Anstine et al., Chem. Sci. 16, 10228 (2025)]. It does not read the
    multiplicity, and is not size-consistent: what one fragment lacks is shared out over all of a structure.

    Args:
        channels: Channels of the backbone.
        num_passes: Passes of the backbone; each has weights of its own.
        hidden: Width of the nonlinear readout; 0 for a linear one alone.
        weights: How what is missing is shared out: "learned", "uniform", or "inverse_hardness" (linear charge
            equilibration), see `eqff.nn.equilibration`.
        increments: Whether a pass reads changes of the charges of the pass before, as AIMNet2 does, or the charges
            themselves.
        scale: e; times what is read: fresh models begin near neutral atoms, and charges change in small steps.

    Raises:
        ConfigError: Another kind of weights.
    """

    reads = ("total_charge",)
    writes = ("charges",)
    reads_previous = True

    def __init__(
        self,
        channels: int,
        num_passes: int,
        hidden: Size = 32,
        weights: Weights = "learned",
        increments: bool = False,
        scale: Positive = 0.1,
    ):
        super().__init__()
        self.increments, self.scale = increments, scale
        self.sharing = nn.ModuleList(sharing(weights) for _ in range(num_passes))
        self.readout = nn.ModuleList(Readout(channels, s.outputs, hidden, s.bias) for s in self.sharing)
        self.feedback = nn.ModuleList(Feedback(channels, 1) for _ in range(num_passes))

    def forward(
        self, index: int, features: Tensor, graph: AtomicGraph, previous: Fields
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """New features; ``charges`` in e, (N,)."""
        read = self.scale * self.readout[index](features[:, 0])
        start = previous["charges"] if self.increments and previous else torch.zeros_like(read[:, 0])
        there = segment_sum(start.to(torch.float64), graph.batch, graph.num_structures)
        charges = start + self.sharing[index](read, graph.total_charge - there, graph.batch)
        return self.feedback[index](features, charges[:, None]), {"charges": charges}
