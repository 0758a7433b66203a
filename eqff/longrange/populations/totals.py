"""What populations add up to, and the directions in which they may move."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from eqff.nn.reduce import segment_sum


@dataclass(frozen=True)
class Totals:
    """Of C kinds of populations.

    Attributes:
        values: (B, C).
        free: Whether atoms have any population of a kind, or none at all (spins of a singlet), (B, C) bool.
        batch: Structure of each atom, (N,).
    """

    values: Tensor
    free: Tensor
    batch: Tensor

    def shared(self, totals: Tensor) -> Tensor:
        """``totals`` (B, C) shared out evenly over the atoms of each structure, (N, C); nothing where not free."""
        counts = torch.bincount(self.batch, minlength=totals.shape[0]).clamp(min=1)
        return (self.free * totals / counts[:, None])[self.batch]

    def centred(self, values: Tensor) -> Tensor:
        """``values`` (N, C) without their means over each structure: what keeps the totals; zero where not free."""
        means = self.shared(segment_sum(values, self.batch, self.values.shape[0]))
        return self.free[self.batch] * values - means

    def missing(self, populations: Tensor) -> Tensor:
        """What populations (N, C) lack, shared out evenly, (N, C)."""
        return self.shared(self.values - segment_sum(populations, self.batch, self.values.shape[0]))
