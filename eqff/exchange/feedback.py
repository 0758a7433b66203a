"""How values of atoms enter features again."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def add_to_scalars(features: Tensor, update: Tensor) -> Tensor:
    """Features (N, (L + 1)², C) whose scalars have grown by ``update`` (N, C)."""
    scalars, others = _apart(features)
    return torch.cat([scalars + update[:, None], others], dim=1)


class Feedback(nn.Module):
    """Scalars grow by a network of themselves and of some values of the atom.

    The values' first layer has no bias of its own: what they do is learned together with the scalars that they meet.

    Args:
        channels: Channels of the features.
        values: Values of each atom.
    """

    def __init__(self, channels: int, values: int):
        super().__init__()
        self.scalars = nn.Linear(channels, channels)
        self.values = nn.Linear(values, channels, bias=False)
        self.out = nn.Linear(channels, channels, bias=False)

    def forward(self, features: Tensor, values: Tensor) -> Tensor:
        """From features (N, (L + 1)², C) and values (N, values) to new features."""
        scalars, others = _apart(features)
        hidden = nn.functional.silu(self.scalars(scalars.squeeze(1)) + self.values(values))
        return torch.cat([scalars + self.out(hidden)[:, None], others], dim=1)


def _apart(features: Tensor) -> tuple[Tensor, Tensor]:
    """Scalars (N, 1, C) and the rest, as one split: slices would each be given back as a tensor of all components."""
    scalars, others = features.split((1, features.shape[1] - 1), dim=1)
    return scalars, others
