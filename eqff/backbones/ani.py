"""ANI: symmetry functions of shells and angles, and a network for each element."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from eqff.backbones.element_networks import Activation
from eqff.backbones.symmetry_functions import SymmetryFunctionNetworks
from eqff.nn.radial import cosine_cutoff
from eqff.ranges import Count, InnerShare, NonNegative, Positive


def even_shells(start: float, cutoff: float, size: int) -> Tensor:
    """``size`` distances (Å) in even steps from the start, the cutoff not among them, float64."""
    return start + (cutoff - start) / size * torch.arange(size, dtype=torch.float64)


class Shells(nn.Module):
    """exp(-η (r - r_s)²) f(r) / 4, for shells r_s (eq. 3 of the paper; the quarter is that of the published code).

    Args:
        cutoff: Å.
        size: Shells.
        eta: η, Å⁻².
        start: First shell, Å.
    """

    shells: Tensor

    def __init__(self, cutoff: float, size: int, eta: float, start: float):
        super().__init__()
        self.cutoff, self.size, self.eta = cutoff, size, eta
        shells = even_shells(start, cutoff, size).to(torch.get_default_dtype())
        self.register_buffer("shells", shells, persistent=False)

    def forward(self, lengths: Tensor) -> Tensor:
        """From (E,) in Å to (E, size)."""
        away = lengths[:, None] - self.shells
        return torch.exp(-self.eta * away.square()) * (0.25 * cosine_cutoff(lengths, self.cutoff))[:, None]


class ShellsAndAngles(nn.Module):
    """2 ((1 + cos(θ - θ_s)) / 2)^ζ exp(-η ((r_ij + r_ik) / 2 - r_s)²), for shells r_s and angles θ_s (eq. 4).

    The published code takes cos θ times 0.95. So nothing is lost at θ = 0 and π, where the angle itself has a cusp:
    a linear molecule that bends by ±x would have an energy linear in |x|.

    Args:
        cutoff: Å.
        size: Shells.
        eta: η, Å⁻².
        start: First shell, Å.
        angles: Number of θ_s, in the middle of as many equal sections of 0 to π.
        zeta: ζ.
        cosine_scale: What cos θ is multiplied with, below 1.
    """

    shells: Tensor
    angles: Tensor

    def __init__(
        self, cutoff: float, size: int, eta: float, start: float, angles: int, zeta: float, cosine_scale: float
    ):
        super().__init__()
        self.cutoff, self.size, self.eta, self.zeta = cutoff, size * angles, eta, zeta
        self.cosine_scale = cosine_scale
        sections = (torch.arange(angles, dtype=torch.float64) + 0.5) * (math.pi / angles)
        directions = torch.stack([sections.cos(), sections.sin()])
        for name, table in (("shells", even_shells(start, cutoff, size)), ("angles", directions)):
            self.register_buffer(name, table.to(torch.get_default_dtype()), persistent=False)

    def envelope(self, lengths: Tensor) -> Tensor:
        """The cutoff function of each distance, of any shape."""
        return cosine_cutoff(lengths, self.cutoff)

    def forward(self, first: Tensor, second: Tensor, cosine: Tensor, across: Tensor) -> Tensor:
        """From (T,) each to (T, shells · angles), angles last."""
        cosine = self.cosine_scale * cosine
        sine = (1 - cosine.square()).sqrt()
        turned = cosine[:, None] * self.angles[0] + sine[:, None] * self.angles[1]  # cos(θ - θ_s)
        of_angle = (0.5 * (1 + turned)).clamp(min=0.0) ** self.zeta
        of_shell = torch.exp(-self.eta * (0.5 * (first + second)[:, None] - self.shells).square())
        return (2 * of_shell[:, :, None] * of_angle[:, None, :]).flatten(1)


class ANI(SymmetryFunctionNetworks):
    """ANAKIN-ME [Smith, Isayev & Roitberg, Chem. Sci. 8, 3192 (2017)], with the constants of ANI-1x as defaults.

    The vector of an environment is that of the published code, to rounding. Layers are of one width for all elements.
    At the cutoffs, forces are continuous but not their slopes; with "celu", the published nonlinearity, neither are
    these where a channel changes its sign.

    Args:
        elements: Atomic numbers covered (offered by the data).
        out_degree: Highest degree that heads and terms read (offered by them); 0.
        channels: Width of every layer.
        num_passes: Layers.
        cutoff: Of radial functions, Å.
        radial_size: Radial shells.
        radial_eta: Å⁻².
        radial_start: First radial shell, Å.
        angular_cutoff: Å, not beyond the other.
        angular_size: Shells of angular functions.
        angular_eta: Å⁻².
        angular_start: First of them, Å.
        angles: θ_s.
        zeta: ζ.
        cosine_scale: Rounds off angles near 0 and π, see `ShellsAndAngles`.
        activation: Nonlinearity.
        charge_and_spin: Whether total charge and multiplicity enter every layer.

    Raises:
        ConfigError: A higher degree is read than there is, or the angular cutoff is the longer one.
    """

    def __init__(
        self,
        elements: Sequence[int],
        out_degree: int = 0,
        channels: Count = 128,
        num_passes: Count = 3,
        cutoff: Positive = 5.2,
        radial_size: Count = 16,
        radial_eta: Positive = 16.0,
        radial_start: NonNegative = 0.9,
        angular_cutoff: Positive = 3.5,
        angular_size: Count = 4,
        angular_eta: Positive = 8.0,
        angular_start: NonNegative = 0.9,
        angles: Count = 8,
        zeta: Positive = 32.0,
        cosine_scale: InnerShare = 0.95,
        activation: Activation = "celu",
        charge_and_spin: bool = True,
    ):
        super().__init__(
            elements,
            Shells(cutoff, radial_size, radial_eta, radial_start),
            ShellsAndAngles(angular_cutoff, angular_size, angular_eta, angular_start, angles, zeta, cosine_scale),
            out_degree=out_degree,
            channels=channels,
            num_passes=num_passes,
            activation=activation,
            charge_and_spin=charge_and_spin,
        )
