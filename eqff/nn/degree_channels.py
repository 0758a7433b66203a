"""Features whose degrees have different numbers of channels, in one tensor: unused channels of a degree are zero."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from eqff.nn.spherical import components


def split_degrees(features: Tensor, channels: Sequence[int]) -> list[Tensor]:
    """The used channels of each degree l, (N, 2l + 1, C_l).

    Args:
        features: (N, (L + 1)², C).
        channels: C_l for l = 0, 1, ..., L, none above C.
    """
    return [features[:, components(l), :count] for l, count in enumerate(channels)]


def join_degrees(parts: Sequence[Tensor], channels: int) -> Tensor:
    """The inverse of `split_degrees`: (N, (L + 1)², channels), with zeros where a degree has fewer."""
    return torch.cat([pad(part, (0, channels - part.shape[2])) for part in parts], dim=1)
