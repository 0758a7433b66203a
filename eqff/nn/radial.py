"""Functions of distance: bases, the smooth end at the cutoff, and learned radial weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from eqff.errors import ConfigError


def polynomial_cutoff(lengths: Tensor, cutoff: float, power: int = 6) -> Tensor:
    """1 at zero, 0 from the cutoff on, with two continuous derivatives [Gasteiger et al., ICLR 2020, eq. 8].

    Args:
        lengths: Å, any shape.
        cutoff: Å.
        power: p; higher stays near 1 for longer.
    """
    x = (lengths / cutoff).clamp(max=1.0)
    p = power
    outer = 1.0 - x**p * ((p + 1) * (p + 2) / 2 - p * (p + 2) * x + p * (p + 1) / 2 * x**2)
    return torch.where(lengths < cutoff, outer, 0.0)


def cosine_cutoff(lengths: Tensor, cutoff: float) -> Tensor:
    """1 at zero, 0 from the cutoff on, with a continuous derivative [Behler, J. Chem. Phys. 134, 074106 (2011), eq. 4].

    Args:
        lengths: Å, any shape.
        cutoff: Å.
    """
    return torch.where(lengths < cutoff, 0.5 * (torch.cos(lengths * (math.pi / cutoff)) + 1.0), 0.0)


def tanh_cutoff(lengths: Tensor, cutoff: float) -> Tensor:
    """tanh³(1 - r / r_c), 0 from the cutoff on, with two continuous derivatives [the same paper, eq. 5].

    Args:
        lengths: Å, any shape.
        cutoff: Å.
    """
    return torch.tanh((1.0 - lengths / cutoff).clamp(min=0.0)) ** 3


def xplor_cutoff(lengths: Tensor, cutoff: float, onset: float) -> Tensor:
    """1 up to the onset, 0 from the cutoff on, with one continuous derivative [the XPLOR smoothing function].

    Args:
        lengths: Å, any shape.
        cutoff: r_c in Å.
        onset: r_on in Å, below the cutoff.
    """
    square, on, off = lengths**2, onset**2, cutoff**2
    outer = (off - square) ** 2 * (off + 2 * square - 3 * on) / (off - on) ** 3
    return torch.where(lengths < onset, 1.0, torch.where(lengths < cutoff, outer, 0.0))


class BesselBasis(nn.Module):
    """√(2/r_c) sin(n π r / r_c) / r for n = 1 ... size [Gasteiger et al., ICLR 2020, eq. 7].

    Args:
        cutoff: Å.
        size: Number of functions.
    """

    def __init__(self, cutoff: float, size: int = 8):
        super().__init__()
        self.cutoff, self.size = cutoff, size
        frequencies = torch.arange(1, size + 1, dtype=torch.float64) * (math.pi / cutoff)
        self.register_buffer("frequencies", frequencies.to(torch.get_default_dtype()), persistent=False)

    def forward(self, lengths: Tensor) -> Tensor:
        """From lengths (...) in Å to (..., size)."""
        r = lengths[..., None]
        return math.sqrt(2.0 / self.cutoff) * torch.sin(r * self.frequencies) / r


class LearnedBesselBasis(nn.Module):
    """√(2/r_c) sin(ω_n r) / r, where the ω_n are learned and begin at n π / r_c, as in NequIP and DimeNet.

    Args:
        cutoff: Å.
        size: Number of functions.
    """

    def __init__(self, cutoff: float, size: int = 8):
        super().__init__()
        self.factor = math.sqrt(2.0 / cutoff)
        self.frequencies = nn.Parameter(torch.arange(1, size + 1).to(torch.get_default_dtype()) * (math.pi / cutoff))

    def forward(self, lengths: Tensor) -> Tensor:
        """From lengths (...) in Å to (..., size)."""
        r = lengths[..., None]
        return self.factor * torch.sin(r * self.frequencies) / r


class GaussianBasis(nn.Module):
    """Gaussians at even distances between zero and the cutoff [SchNet].

    Args:
        cutoff: Å.
        size: Number of functions, from 2.

    Raises:
        ConfigError: One alone, which has no width.
    """

    def __init__(self, cutoff: float, size: int = 16):
        super().__init__()
        if size < 2:
            raise ConfigError(f"radial_size is {size}: Gaussians are as wide as they are apart, so give 2 or more.")
        self.size = size
        centres = torch.linspace(0.0, cutoff, size, dtype=torch.float64)
        self.width = cutoff / (size - 1)
        self.register_buffer("centres", centres.to(torch.get_default_dtype()), persistent=False)

    def forward(self, lengths: Tensor) -> Tensor:
        """From lengths (...) in Å to (..., size)."""
        return torch.exp(-0.5 * ((lengths[..., None] - self.centres) / self.width) ** 2)


BASES = {"bessel": BesselBasis, "gaussian": GaussianBasis}


def radial_network(size: int, hidden: int, outputs: int) -> nn.Module:
    """Learned radial functions on top of a basis: one hidden layer, or a linear combination where ``hidden`` is 0."""
    if not hidden:
        return nn.Linear(size, outputs, bias=False)
    return nn.Sequential(nn.Linear(size, hidden), nn.SiLU(), nn.Linear(hidden, outputs, bias=False))
