"""Positive numbers that are read from the environment and stay within a factor of a table."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from eqff.parts import Fields, Head


class BoundedFactor(Head):
    """exp(L tanh(x / L)), with x read from the scalars of every pass; x = 0 before training.

    x is divided by the root of the number of scalars, so that a step of Adam, which moves all weights alike, does not
    take it to its end at once.

    Args:
        channels: Channels of the backbone.
        num_passes: Passes of the backbone.
        hidden: Width of the nonlinear readout; 0 for a linear one alone.
    """

    def __init__(self, channels: int, num_passes: int, hidden: int):
        super().__init__()
        size = channels * num_passes
        self.linear = nn.Linear(size, 1)
        outputs = [self.linear]
        self.nonlinear = None
        if hidden:
            self.nonlinear = nn.Sequential(nn.Linear(size, hidden), nn.SiLU(), nn.Linear(hidden, 1, bias=False))
            outputs.append(self.nonlinear[-1])
        for layer in outputs:
            nn.init.zeros_(layer.weight)
        nn.init.zeros_(self.linear.bias)

    def factor(self, fields: Fields, limit: float | Tensor) -> Tensor:
        """The factor of each atom, (N,), between exp(-L) and exp(L) for a ``limit`` L, one or (N,)."""
        scalars = fields["pass_scalars"].flatten(1)
        read = self.linear(scalars)
        if self.nonlinear is not None:
            read = read + self.nonlinear(scalars)
        read = read[:, 0] / scalars.shape[1] ** 0.5
        return torch.exp(limit * torch.tanh(read / limit))
