"""Multipoles that don't interact at short range, which is left to the local model."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from eqff.errors import ConfigError
from eqff.longrange.kernels import smooth_end
from eqff.longrange.multipoles.damping import Damping


@dataclass(frozen=True)
class SwitchedDamping(Damping):
    """The whole interaction of a pair times a factor that rises from 0 to 1, whatever the ranks.

    All scales are this factor, so the energy of a pair is switched and not its potential: fields are then no longer
    gradients of the potential, but forces are those of the energy, which has two continuous derivatives.

    Attributes:
        inner: Å; closer than this nothing interacts.
        outer: Å; from here on points do.
    """

    inner: float
    outer: float

    def __post_init__(self) -> None:
        if not 0 <= self.inner < self.outer:
            raise ConfigError(f"The switch needs 0 <= inner < outer, but inner is {self.inner}, outer is {self.outer}.")

    def scales(self, lengths: Tensor, receiver: Tensor, sender: Tensor, count: int) -> tuple[Tensor, ...]:
        """See `Damping.scales`."""
        return (1 - smooth_end(lengths, self.inner, self.outer),) * count

    def extent(self, accuracy: float, atoms: Tensor | None = None) -> float:
        """Where the switch ends."""
        return self.outer
