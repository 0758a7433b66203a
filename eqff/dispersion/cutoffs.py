"""Where sums over pairs end, and how."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from eqff.errors import ConfigError
from eqff.longrange.kernels import smooth_end


@dataclass(frozen=True)
class Cutoff:
    """A weight of 1 up to ``radius - fade`` and of 0 from ``radius`` on, with two continuous derivatives.

    Attributes:
        radius: Å.
        fade: Å; 0 for a step, which other programs have: energies then jump as atoms cross.
    """

    radius: float
    fade: float

    def __post_init__(self) -> None:
        if not 0 <= self.fade <= self.radius:
            raise ConfigError(
                f"A sum up to {self.radius:g} Å can't fade out over {self.fade:g} Å: give 0 to the cutoff."
            )

    def weight(self, lengths: Tensor) -> Tensor:
        """Of distances in Å, any shape."""
        if self.fade == 0:
            return (lengths <= self.radius).to(lengths.dtype)
        return smooth_end(lengths, self.radius - self.fade, self.radius)

    def contains(self, lengths: Tensor) -> Tensor:
        """Which distances have a weight, bool."""
        return lengths <= self.radius if self.fade == 0 else lengths < self.radius


def inside(cutoff: Cutoff, lengths: Tensor) -> Tensor:
    """Places of the distances that have a weight, (P,)."""
    with torch.no_grad():
        return cutoff.contains(lengths).nonzero()[:, 0]
