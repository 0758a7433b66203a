"""How an iteration went, and what is done where it did not converge."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from eqff.errors import ConfigError, ModelError, did_you_mean

log = logging.getLogger(__name__)

OnFailure = Literal["raise", "warn"]
Failure = Callable[[str], None]
"""Is given the message on an iteration that has not converged; if it returns, the last iterate is used."""


@dataclass
class Convergence:
    """How a solve went.

    Attributes:
        iterations: Of the structure that took longest.
        residual: Norm of what is left, relative to the right-hand side, (B,).
        each: Iterations of each structure, (B,).
    """

    iterations: int
    residual: Tensor
    each: Tensor

    def require(self, converged: Tensor, tolerance: float, what: str, failed: Failure) -> None:
        """Calls ``failed`` with structure and numbers unless all of ``converged`` (B,) are true."""
        if bool(converged.all()):
            return
        worst = int(self.residual.argmax())
        failed(
            f"{what} of structure {worst} of the batch: conjugate gradients left a residual of "
            f"{float(self.residual[worst]):.1e} after {self.iterations} iterations; the goal is {tolerance:.1e} "
            f"({int((~converged).sum())} of {len(converged)} structures are above it). Raise max_iterations or the "
            "tolerance."
        )


def refuse(message: str) -> None:
    """Raises ModelError."""
    raise ModelError(message)


class WarnAndCount:
    """Goes on with the last iterate, and logs the first, second, fourth, eighth... time.

    Attributes:
        count: How often it has happened.
    """

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, message: str) -> None:
        """See the class."""
        self.count += 1
        if self.count & (self.count - 1) == 0:
            log.warning("%s What was reached is used. Times so far: %d.", message, self.count)


def failure(name: str) -> Failure:
    """What to do by its name in configs: "raise" or "warn".

    Raises:
        ConfigError: There is no such way.
    """
    ways: dict[str, Callable[[], Failure]] = {"raise": lambda: refuse, "warn": WarnAndCount}
    if name not in ways:
        raise ConfigError(f"on_failure: no '{name}'.{did_you_mean(name, ways)}")
    return ways[name]()
