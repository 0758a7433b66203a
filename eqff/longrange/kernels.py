"""What acts between two charges: 1/r, less what is taken away at short range.

Every kernel is u(r) = 1/r - c(r) with a c(r) that ends within a few Å. Sums over lattices treat 1/r; c(r) is subtracted
over neighbours. Under periodic boundaries, spread charges then interact at a distance as if they were points, whatever
the cell's total charge.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from eqff.errors import ConfigError
from eqff.longrange.tuning import reach

SOFTENING = 1.0
"""Å, of `SoftenedKernel`."""


class Kernel(ABC):
    """The interaction of two charges."""

    @abstractmethod
    def complement(self, lengths: Tensor, first: Tensor | None, second: Tensor | None) -> Tensor:
        """c(r) in 1/Å for distances (E,) in Å and the widths of both charges in Å, (E,), where charges have one."""

    @abstractmethod
    def extent(self, widths: Tensor | None, accuracy: float) -> float:
        """Å beyond which r · c(r) is less than ``accuracy``."""

    def self_interaction(self, widths: Tensor | None) -> Tensor | None:
        """Twice the energy of a unit charge in its own potential, without k_e, 1/Å, (N,); None if it is left out."""
        return None


class PointKernel(Kernel):
    """1/r."""

    def complement(self, lengths: Tensor, first: Tensor | None, second: Tensor | None) -> Tensor:
        """Nothing is taken away."""
        return torch.zeros_like(lengths)

    def extent(self, widths: Tensor | None, accuracy: float) -> float:
        """Zero."""
        return 0.0


class GaussianKernel(Kernel):
    """erf(r / sqrt(w_i² + w_j²)) / r, the interaction of densities exp(-r²/w²).

    Charges without widths of their own all get ``width``. [CENT: Ghasemi et al., Phys. Rev. B 92, 045131 (2015)]

    Args:
        width: Å.
    """

    def __init__(self, width: float | None = None):
        self.width = width

    def complement(self, lengths: Tensor, first: Tensor | None, second: Tensor | None) -> Tensor:
        """erfc(r / gamma) / r."""
        if first is None or second is None:
            gamma: Tensor | float = math.sqrt(2.0) * self._width()
        else:
            gamma = (first.square() + second.square()).sqrt()
        return torch.erfc(lengths / gamma) / lengths

    def extent(self, widths: Tensor | None, accuracy: float) -> float:
        """sqrt(2) times the largest width times how many widths a Gaussian reaches."""
        largest = self._width() if widths is None else float(widths.detach().amax()) if widths.numel() else 0.0
        return math.sqrt(2.0) * largest * reach(accuracy)

    def self_interaction(self, widths: Tensor | None) -> Tensor:
        """2 / (sqrt(2 pi) w)."""
        width = torch.tensor(self._width(), dtype=torch.float64) if widths is None else widths
        return 2 / (math.sqrt(2 * math.pi) * width)

    def _width(self) -> float:
        if self.width is None:
            raise ConfigError("Gaussian charges need a width: a field of widths, or one for all.")
        return self.width


class SwitchedKernel(Kernel):
    """1/r, switched off smoothly at short range, which is left to the local model [PhysNet's idea].

    Args:
        inner: Å; closer than this charges don't interact.
        outer: Å; from here on the interaction is 1/r. Between both a polynomial with two continuous derivatives.
    """

    def __init__(self, inner: float, outer: float):
        if not 0 <= inner < outer:
            raise ConfigError(f"The switch needs 0 <= inner < outer, but inner is {inner} and outer is {outer}.")
        self.inner, self.outer = inner, outer

    def complement(self, lengths: Tensor, first: Tensor | None, second: Tensor | None) -> Tensor:
        """switch(r) / r."""
        return smooth_end(lengths, self.inner, self.outer) / lengths

    def extent(self, widths: Tensor | None, accuracy: float) -> float:
        """Where the switch ends."""
        return self.outer


class SoftenedKernel(SwitchedKernel):
    """1 / sqrt(r² + a²) at short range, a = 1 Å, and 1/r from ``outer`` on [Unke & Meuwly, JCTC 15, 3678 (2019)].

    PhysNet has ``inner`` 0 and ``outer`` half of its cutoff, and between both the same polynomial; SpookyNet the same
    idea [Unke et al., Nat. Commun. 12, 7273 (2021)]. Arguments are those of `SwitchedKernel`.
    """

    def complement(self, lengths: Tensor, first: Tensor | None, second: Tensor | None) -> Tensor:
        """switch(r) (1/r - 1 / sqrt(r² + a²))."""
        soft = (lengths.square() + SOFTENING**2).rsqrt()
        return smooth_end(lengths, self.inner, self.outer) * (1 / lengths - soft)


def smooth_end(lengths: Tensor, inner: float, outer: float) -> Tensor:
    """1 up to ``inner``, 0 from ``outer`` on, between them 1 - 10 x³ + 15 x⁴ - 6 x⁵."""
    x = ((lengths - inner) / (outer - inner)).clamp(0.0, 1.0)
    return 1 - x**3 * (10 - 15 * x + 6 * x**2)
