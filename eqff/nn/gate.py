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
        mixed = self.linear(features[:, 0])
        scalars = nn.functional.silu(mixed[:, : self.channels])[:, None]
        if not self.degree:
            return scalars
        return torch.cat([scalars, features[:, 1:] * torch.sigmoid(mixed[:, self.channels :])[:, None]], dim=1)
