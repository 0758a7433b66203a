"""Interactions of two dipoles as T = a(r) 1 + b(r) r rᵀ, damped in the ways that MBD@rsSCS needs.

The sign is that of the energy, μ_i·T μ_j: of two points T = (1 - 3 r̂ r̂ᵀ) / r³.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class PairTensors:
    """T of pairs.

    Attributes:
        isotropic: a, 1/Å³, (E, ...).
        axial: b, 1/Å⁵, (E, ...).
    """

    isotropic: Tensor
    axial: Tensor

    def blocks(self, vectors: Tensor) -> Tensor:
        """(E, ..., 3, 3) from vectors r (E, 3) in Å."""
        outer = vectors[:, :, None] * vectors[:, None, :]
        outer = outer.reshape(outer.shape[:1] + (1,) * (self.axial.dim() - 1) + (3, 3))
        eye = torch.eye(3, dtype=vectors.dtype, device=vectors.device)
        return self.isotropic[..., None, None] * eye + self.axial[..., None, None] * outer

    def __mul__(self, factor: Tensor) -> PairTensors:
        return PairTensors(self.isotropic * factor, self.axial * factor)

    def __add__(self, other: PairTensors) -> PairTensors:
        return PairTensors(self.isotropic + other.isotropic, self.axial + other.axial)


def points(lengths: Tensor) -> PairTensors:
    """Two point dipoles at r in Å."""
    return PairTensors(lengths**-3, -3 * lengths**-5)


def gaussians(lengths: Tensor, width: Tensor) -> PairTensors:
    """Two dipoles of Gaussian density, T of erf(r/width)/r [Mayer, Phys. Rev. B 75, 045407 (2007)].

    Args:
        lengths: r in Å, broadcastable with the width.
        width: sqrt(σ_i² + σ_j²) in Å.
    """
    x = lengths / width
    gaussian = 2 / math.sqrt(math.pi) * x * torch.exp(-x.square())
    inside = torch.erf(x) - gaussian
    return PairTensors(inside / lengths**3, (2 * x.square() * gaussian - 3 * inside) / lengths**5)


def ewald_near(lengths: Tensor, alpha: Tensor) -> PairTensors:
    """What Ewald's sum leaves to neighbours, T of erfc(alpha r)/r; the whole of `points` where alpha (1/Å) is zero."""
    x = alpha * lengths
    gaussian = 2 / math.sqrt(math.pi) * x * torch.exp(-x.square())
    rest = torch.erfc(x)
    return PairTensors((rest + gaussian) / lengths**3, -(3 * rest + gaussian * (3 + 2 * x.square())) / lengths**5)
