"""How the interaction of two multipoles is weakened where their clouds overlap.

The derivatives of 1/r by the distance are scaled one by one: the n-th of 1/r, -1/r³, 3/r⁵, -15/r⁷, 105/r⁹ by
lambda1, lambda3, lambda5, lambda7, lambda9. All of them follow from one damped potential lambda1/r,

    lambda(2n+1) = lambda(2n-1) - r / (2n-1) · d lambda(2n-1) / dr,

so energies stay differentiable functions of the positions whichever of them is used.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

HIGHEST = 5
"""Number of scales that are known: lambda1 to lambda9, enough for the interaction of two quadrupoles."""

_FAR = 500.0  # exp(-x) times any power used here is zero well before


class Damping(ABC):
    """Bound to the atoms of a batch."""

    @abstractmethod
    def scales(self, lengths: Tensor, receiver: Tensor, sender: Tensor, count: int) -> tuple[Tensor, ...]:
        """lambda1, lambda3, ..., ``count`` of them, each (E,).

        Args:
            lengths: Distances in Å, (E,), float64, above zero.
            receiver: One atom of each pair, (E,).
            sender: The other one, (E,).
            count: From 1 to `HIGHEST`.
        """

    @abstractmethod
    def extent(self, accuracy: float, atoms: Tensor | None = None) -> float:
        """Å beyond which every scale differs from 1 by less than ``accuracy``, for all or for ``atoms``, (N,) bool."""


@dataclass(frozen=True)
class NoDamping(Damping):
    """1/r as it is."""

    def scales(self, lengths: Tensor, receiver: Tensor, sender: Tensor, count: int) -> tuple[Tensor, ...]:
        """Ones."""
        return (torch.ones_like(lengths),) * count

    def extent(self, accuracy: float, atoms: Tensor | None = None) -> float:
        """Zero."""
        return 0.0


@dataclass(frozen=True)
class GaussianDamping(Damping):
    """Gaussian clouds exp(-r²/w²): lambda1 = erf(r / gamma) with gamma² = w_i² + w_j².

    Attributes:
        widths: w in Å, (N,); zero for points.
    """

    widths: Tensor

    def scales(self, lengths: Tensor, receiver: Tensor, sender: Tensor, count: int) -> tuple[Tensor, ...]:
        """See `Damping.scales`."""
        squared = self.widths[receiver].square() + self.widths[sender].square()
        spread = squared > 0
        ratio = torch.where(spread, lengths / torch.where(spread, squared, 1.0).sqrt(), _FAR)
        tail = 2 / math.sqrt(math.pi) * torch.exp(-ratio.square())
        scales, power, factor = [torch.erf(ratio)], ratio, 1.0
        for n in range(1, count):
            factor *= 1.0 if n == 1 else 2 / (2 * n - 1)
            scales.append(scales[-1] - factor * power * tail)
            power = power * ratio.square()
        return tuple(scales)

    def extent(self, accuracy: float, atoms: Tensor | None = None) -> float:
        """√2 times the largest width times how many widths the clouds reach."""
        # the highest scale has a seventh power of the distance before its Gaussian
        return math.sqrt(2.0) * _largest(self.widths, atoms) * math.sqrt(_end(accuracy, 3.5))


@dataclass(frozen=True)
class TholeDamping(Damping):
    """Clouds exp(-a u³) with u = r / (alpha_i alpha_j)^(1/6): lambda3 = 1 - exp(-a u³) and all that follows from it.

    [Thole, Chem. Phys. 59, 341 (1981); Ren and Ponder, J. Phys. Chem. B 107, 5933 (2003)]. Of two different a the
    smaller one counts. An atom without polarizability does not damp.

    Attributes:
        polarizabilities: alpha in Å³, (N,): of a tensor a third of its trace (`isotropic`).
        strength: a, (N,), or one number for all; AMOEBA's is 0.39.
        fields_only: Whether nothing but fields at induced dipoles is asked for: lambda1, which takes longer than all
            others, is left at 1, and how far lambda9 reaches does not count.
    """

    polarizabilities: Tensor
    strength: Tensor | float
    fields_only: bool = False

    def scales(self, lengths: Tensor, receiver: Tensor, sender: Tensor, count: int) -> tuple[Tensor, ...]:
        """See `Damping.scales`."""
        product = self.polarizabilities[receiver] * self.polarizabilities[sender]
        damped = product > 0
        x = self._strength(receiver, sender) * lengths**3 / torch.where(damped, product, 1.0).sqrt()
        x = torch.where(damped, x, _FAR).clamp(max=_FAR)
        cloud = torch.exp(-x)
        makers = (
            lambda: torch.ones_like(x) if self.fields_only else _thole_potential(x, cloud),
            lambda: -torch.expm1(-x),
            lambda: 1 - (1 + x) * cloud,
            lambda: 1 - (1 + x * (1 + 3 / 5 * x)) * cloud,
            lambda: 1 - (1 + x * (1 + x * (18 / 35 + 9 / 35 * x))) * cloud,
        )
        return tuple(make() for make in makers[:count])

    def extent(self, accuracy: float, atoms: Tensor | None = None) -> float:
        """Where the cloud of two atoms of the largest polarizability and smallest a has ended."""
        strength = self.strength
        smallest = -_largest(-strength, atoms) if torch.is_tensor(strength) else strength
        largest = _largest(self.polarizabilities, atoms)
        # lambda9, which only fields' gradients and energies of quadrupoles have, reaches farthest
        power = 2.0 if self.fields_only else 3.0
        return (_end(accuracy, power) / smallest * largest) ** (1 / 3) if largest > 0 else 0.0

    def _strength(self, receiver: Tensor, sender: Tensor) -> Tensor | float:
        if not torch.is_tensor(self.strength):
            return self.strength
        return torch.minimum(self.strength[receiver], self.strength[sender])


def isotropic(polarizabilities: Tensor) -> Tensor:
    """A third of the trace, (N,), of tensors (N, 3, 3) in Å³."""
    return polarizabilities.diagonal(dim1=1, dim2=2).sum(dim=1) / 3


def _end(accuracy: float, power: float) -> float:
    """x with x^power exp(-x) = accuracy, by fixed-point iteration."""
    x = -math.log(accuracy)
    for _ in range(20):
        x = -math.log(accuracy) + power * math.log(max(x, 1.0))
    return x


def _largest(values: Tensor, atoms: Tensor | None) -> float:
    values = values if atoms is None else values[atoms]
    return float(values.detach().max()) if values.numel() else 0.0


def _thole_potential(x: Tensor, cloud: Tensor) -> Tensor:
    """1 - exp(-x) + x^(1/3) Gamma(2/3, x)."""
    return 1 - cloud + x ** (1 / 3) * math.gamma(2 / 3) * torch.special.gammaincc(torch.full_like(x, 2 / 3), x)
