"""Learning-rate schedules over the share of the budget that is used, so that they end exactly when it does."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from eqff.errors import ConfigError, did_you_mean

SHAPES: dict[str, Callable[[float], float]] = {
    "constant": lambda x: 1.0,
    "linear": lambda x: 1.0 - x,
    "cosine": lambda x: 0.5 * (1.0 + math.cos(math.pi * x)),
    "sqrt": lambda x: 1.0 - math.sqrt(x),
}
"""Decay from 1 to 0 as x goes from 0 to 1 ("sqrt": Hägele et al., arXiv:2405.18392)."""


@dataclass(frozen=True)
class Schedule:
    """Warm-up, hold, then decay to the end of the budget.

    Attributes:
        shape: One of `SHAPES`.
        warmup: Share of the budget in which the rate rises linearly from 0.
        hold: Share of the budget, warm-up included, before the decay starts.
        final: Factor that is left at the end.
    """

    shape: str = "linear"
    warmup: float = 0.01
    hold: float = 0.0
    final: float = 0.0

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise ConfigError(f"training.schedule.shape: no '{self.shape}'.{did_you_mean(self.shape, SHAPES)}")
        for name in ("warmup", "hold", "final"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(f"training.schedule.{name} must be between 0 and 1, not {getattr(self, name)}.")

    def factor(self, fraction: float) -> float:
        """By what the learning rates are multiplied after this fraction (0 to 1) of the training."""
        fraction = min(max(fraction, 0.0), 1.0)
        if fraction < self.warmup:
            return max(fraction / self.warmup, 1e-3)  # never quite nothing: a step at rate 0 would be wasted
        start = max(self.warmup, self.hold)
        x = (fraction - start) / (1.0 - start) if fraction > start else 0.0
        return self.final + (1.0 - self.final) * SHAPES[self.shape](x)
