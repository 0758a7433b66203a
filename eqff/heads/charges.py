"""Atomic charges inferred from local environments, which sum to the structure's total charge."""

from __future__ import annotations

from torch import Tensor, nn

from eqff.data.graph import AtomicGraph
from eqff.nn.equilibration import Weights, sharing
from eqff.parts import Fields, Head
from eqff.ranges import Positive, Size


class Charges(Head):
    """q_i = q0_i + w_i (Q - sum q0), with q0 read from the scalars of every pass.

    Inferred charges as in HIP-NN [Sifain et al., J. Phys. Chem. Lett. 9, 4495 (2018)] and PhysNet [Unke & Meuwly, JCTC
    15, 3678 (2019)], which share the missing charge out evenly; learned weights as in AIMNet2 [Anstine et al., Chem.
    Sci. 16, 10228 (2025)]; 1/hardness as in charge equilibration without its Coulomb part. See `eqff.nn.equilibration`.

    Args:
        channels: Channels of the backbone.
        num_passes: Passes of the backbone.
        hidden: Width of the nonlinear readout; 0 for a linear one alone.
        weights: "learned": positive and read from the same features; "uniform": the same for every atom;
            "inverse_hardness": electronegativity and hardness are read.
        scale: e; times what is read: fresh models begin near neutral atoms, and charges change in small steps.

    Raises:
        ConfigError: Another kind of weights.
    """

    reads = ("pass_scalars", "total_charge")
    writes = ("charges",)

    def __init__(
        self,
        channels: int,
        num_passes: int,
        hidden: Size = 32,
        weights: Weights = "learned",
        scale: Positive = 0.1,
    ):
        super().__init__()
        self.scale = scale
        self.sharing = sharing(weights)
        size, outputs = channels * num_passes, self.sharing.outputs
        self.linear = nn.Linear(size, outputs, bias=self.sharing.bias)
        self.nonlinear = None
        if hidden:
            self.nonlinear = nn.Sequential(nn.Linear(size, hidden), nn.SiLU(), nn.Linear(hidden, outputs, bias=False))

    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """``charges`` in e, (N,)."""
        scalars = fields["pass_scalars"].flatten(1)
        read = self.linear(scalars)
        if self.nonlinear is not None:
            read = read + self.nonlinear(scalars)
        return {"charges": self.sharing(self.scale * read, graph.total_charge, graph.batch)}
