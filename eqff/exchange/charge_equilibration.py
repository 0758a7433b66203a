"""Charges with an exact total inside of the message passing: one channel, no spin."""

from __future__ import annotations

from torch import Tensor, nn

from eqff.data.graph import AtomicGraph
from eqff.exchange.feedback import Feedback
from eqff.nn.equilibration import Readout, Weights, sharing
from eqff.parts import Exchange
from eqff.ranges import Size


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

    Raises:
        ConfigError: Another kind of weights.
    """

    reads = ("total_charge",)
    writes = ("charges",)

    def __init__(self, channels: int, num_passes: int, hidden: Size = 32, weights: Weights = "learned"):
        super().__init__()
        self.sharing = nn.ModuleList(sharing(weights) for _ in range(num_passes))
        self.readout = nn.ModuleList(Readout(channels, s.outputs, hidden, s.bias) for s in self.sharing)
        self.feedback = nn.ModuleList(Feedback(channels, 1) for _ in range(num_passes))

    def forward(self, index: int, features: Tensor, graph: AtomicGraph) -> tuple[Tensor, dict[str, Tensor]]:
        """New features; ``charges`` in e, (N,)."""
        read = self.readout[index](features[:, 0])
        charges = self.sharing[index](read, graph.total_charge, graph.batch)
        return self.feedback[index](features, charges[:, None]), {"charges": charges}
