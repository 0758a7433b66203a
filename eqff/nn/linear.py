"""Linear maps of channels that keep degrees apart, the only linear maps that commute with rotations."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from eqff.kernels.choice import own_rules
from eqff.kernels.linear import degree_map
from eqff.nn.spherical import degree_of_components


class DegreeLinear(nn.Module):
    """One matrix of channels for each degree; no bias. Equals e3nn's ``o3.Linear`` on the same irreps.

    Args:
        degree: Highest degree L of input and output.
        channels_in: C.
        channels_out: C'.
    """

    def __init__(self, degree: int, channels_in: int, channels_out: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(degree + 1, channels_in, channels_out) / math.sqrt(channels_in))
        self.register_buffer("degrees", degree_of_components(degree), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """From (N, (L + 1)², C) to (N, (L + 1)², C'), stored by component (so the next product is one GEMM)."""
        if own_rules():
            return degree_map(features.transpose(0, 1), self.weight).transpose(0, 1)
        return torch.bmm(features.transpose(0, 1), self.weight[self.degrees]).transpose(0, 1)
