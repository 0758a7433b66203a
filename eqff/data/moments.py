"""Mean and spread of values that come in chunks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass
class Moments:
    """Number, mean and sum of squared deviations, updated as by Chan, Golub & LeVeque, Am. Stat. 37, 242 (1983)."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, values: np.ndarray) -> None:
        """Takes more values, (M,)."""
        if len(values):
            mean = float(values.mean())
            self.join(Moments(len(values), mean, float(((values - mean) ** 2).sum())))

    def join(self, other: Moments) -> None:
        """Takes the moments of other values."""
        total = self.count + other.count
        if total:
            gap = other.mean - self.mean
            self.squares += other.squares + gap**2 * self.count * other.count / total
            self.mean += gap * other.count / total
            self.count = total

    @property
    def spread(self) -> float:
        """Standard deviation."""
        return math.sqrt(self.squares / self.count) if self.count else 0.0
