"""The nonlinearity of spherical features: scalars pass through SiLU and open gates for the other degrees."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Gate(nn.Module):
    """Scalars s become SiLU(W s + b); components of degree l > 0 are multiplied by sigmoid(W' s + b').

    Args:
        degree: Highest degree of the features.
        channels: C.
    """

    def __init__(self, degree: int, channels: int):
        super().__init__()
        self.degree, self.channels = degree, channels
        self.linear = nn.Linear(channels, channels * (2 if degree else 1))

    def forward(self, features: Tensor) -> Tensor:
        """(N, (degree + 1)², C) to the same shape."""
        if not self.degree:
            return nn.functional.silu(self.linear(features[:, 0]))[:, None]
        # parts of one split: slices would each be given back as a tensor of all components
        scalars, others = features.split((1, features.shape[1] - 1), dim=1)
        scalars, gates = self.linear(scalars.squeeze(1))[:, None].split(self.channels, dim=2)
        return torch.cat([nn.functional.silu(scalars), others * torch.sigmoid(gates)], dim=1)
