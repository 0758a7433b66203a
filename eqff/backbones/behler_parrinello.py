"""High-dimensional neural networks on Behler and Parrinello's symmetry functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Annotated, Literal

import torch
from annotated_types import Ge
from torch import Tensor, nn

from eqff.backbones.element_networks import Activation
from eqff.backbones.symmetry_functions import SymmetryFunctionNetworks
from eqff.errors import ConfigError
from eqff.nn.radial import cosine_cutoff, tanh_cutoff
from eqff.ranges import Count, NonNegative, Positive

Envelope = Literal["cosine", "tanh"]
ENVELOPES: dict[str, Callable[[Tensor, float], Tensor]] = {"cosine": cosine_cutoff, "tanh": tanh_cutoff}

# shells after Imbalzano et al., J. Chem. Phys. 148, 241730 (2018): r_s = cutoff / 8^(m/8), as wide as they are apart
RADIAL_SHIFTS = (0.75, 0.973, 1.261, 1.636, 2.121, 2.751, 3.568, 4.627)
RADIAL_ETA = (20.176, 11.997, 7.133, 4.241, 2.522, 1.5, 0.892, 0.53)
ANGULAR_ETA = (0.01, 0.08, 0.3)


class G2(nn.Module):
    """exp(-η (r - r_s)²) f(r) [Behler, J. Chem. Phys. 134, 074106 (2011), eq. 7].

    Args:
        cutoff: Å.
        eta: η of each function, Å⁻².
        shifts: r_s of each, Å.
        envelope: The cutoff function f.
    """

    eta: Tensor
    shifts: Tensor

    def __init__(self, cutoff: float, eta: Sequence[float], shifts: Sequence[float], envelope: Envelope):
        super().__init__()
        self.cutoff, self.size, self.function = cutoff, len(eta), ENVELOPES[envelope]
        self.register_buffer("eta", torch.tensor(eta, dtype=torch.get_default_dtype()), persistent=False)
        self.register_buffer("shifts", torch.tensor(shifts, dtype=torch.get_default_dtype()), persistent=False)

    def forward(self, lengths: Tensor) -> Tensor:
        """From (E,) in Å to (E, size)."""
        gaussians = torch.exp(-self.eta * (lengths[:, None] - self.shifts).square())
        return gaussians * self.function(lengths, self.cutoff)[:, None]


class G4(nn.Module):
    """2^(1-ζ) (1 + λ cos θ)^ζ exp(-η (r_ij² + r_ik² + r_jk²)) f(r_jk), for every η, ζ and λ [there, eqs. 8, 9].

    Args:
        cutoff: Å.
        eta: Å⁻².
        zeta: ζ.
        signs: λ, 1 or -1.
        third_side: Whether r_jk is part of it (G4); without it is G5.
        envelope: The cutoff function f.
    """

    eta: Tensor
    zeta: Tensor
    signs: Tensor

    def __init__(
        self,
        cutoff: float,
        eta: Sequence[float],
        zeta: Sequence[float],
        signs: Sequence[float],
        third_side: bool,
        envelope: Envelope,
    ):
        super().__init__()
        self.cutoff, self.third_side, self.function = cutoff, third_side, ENVELOPES[envelope]
        exponents, directions = zip(*product(zeta, signs), strict=True)
        self.size = len(eta) * len(exponents)
        for name, values in (("eta", eta), ("zeta", exponents), ("signs", directions)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.get_default_dtype()), persistent=False)

    def envelope(self, lengths: Tensor) -> Tensor:
        """The cutoff function of each distance, of any shape."""
        return self.function(lengths, self.cutoff)

    def forward(self, first: Tensor, second: Tensor, cosine: Tensor, across: Tensor) -> Tensor:
        """From (T,) each to (T, size), ordered by η, then ζ, then λ."""
        squares = first.square() + second.square()
        if self.third_side:
            squares = squares + across
        of_sides = torch.exp(-self.eta * squares[:, None])
        if self.third_side:
            of_sides = of_sides * self.function(across.sqrt(), self.cutoff)[:, None]
        of_angle = 2 * (0.5 * (1 + self.signs * cosine[:, None])).clamp(min=0.0) ** self.zeta
        return (of_sides[:, :, None] * of_angle[:, None, :]).flatten(1)


class BehlerParrinello(SymmetryFunctionNetworks):
    """High-dimensional neural network potentials [Behler & Parrinello, Phys. Rev. Lett. 98, 146401 (2007)].

    With heads for charges or electronegativities it is the network of the third and fourth generations. Each pair of
    neighbours counts once.

    Args:
        elements: Atomic numbers covered (offered by the data).
        out_degree: Highest degree that heads and terms read (offered by them); 0.
        channels: Width of every layer.
        num_passes: Layers.
        cutoff: Of functions of one distance, Å.
        radial_eta: η of each of them, Å⁻².
        radial_shifts: r_s of each of them, or one for all, Å.
        angular_cutoff: Å, not beyond the other.
        angular_eta: Å⁻².
        zeta: ζ: 1, or 2 and more.
        signs: λ.
        angular: "G4", which fades with the third side of the triangle too, or "G5", which does not.
        envelope: How functions end at the cutoffs: "cosine", with a continuous derivative, or "tanh", with two.
        activation: Nonlinearity.
        charge_and_spin: Whether total charge and multiplicity enter every layer.

    Raises:
        ConfigError: A higher degree is read than there is, the angular cutoff is the longer one, or exponents and
            shifts don't fit together.
    """

    def __init__(
        self,
        elements: Sequence[int],
        out_degree: int = 0,
        channels: Count = 32,
        num_passes: Count = 2,
        cutoff: Positive = 6.0,
        radial_eta: tuple[NonNegative, ...] = RADIAL_ETA,
        radial_shifts: tuple[NonNegative, ...] = RADIAL_SHIFTS,
        angular_cutoff: Positive = 4.5,
        angular_eta: tuple[NonNegative, ...] = ANGULAR_ETA,
        zeta: tuple[Annotated[float, Ge(1)], ...] = (1.0, 4.0, 16.0),
        signs: tuple[Literal[1, -1], ...] = (1, -1),
        angular: Literal["G4", "G5"] = "G4",
        envelope: Envelope = "cosine",
        activation: Activation = "tanh",
        charge_and_spin: bool = True,
    ):
        shifts = _shifts(radial_eta, radial_shifts)
        _check(radial_eta=radial_eta, angular_eta=angular_eta, zeta=zeta, signs=signs)
        super().__init__(
            elements,
            G2(cutoff, radial_eta, shifts, envelope),
            G4(angular_cutoff, angular_eta, zeta, signs, angular == "G4", envelope),
            out_degree=out_degree,
            channels=channels,
            num_passes=num_passes,
            activation=activation,
            charge_and_spin=charge_and_spin,
        )


def _shifts(eta: Sequence[float], shifts: Sequence[float]) -> Sequence[float]:
    """A shift for each exponent."""
    if len(shifts) == 1:
        return [shifts[0]] * len(eta)
    if len(shifts) != len(eta):
        counts = f"radial_shifts has {len(shifts)} values for the {len(eta)} of radial_eta"
        raise ConfigError(f"{counts}: give one for each, or one for all.")
    return shifts


def _check(**lists: Sequence[float]) -> None:
    if empty := [name for name, values in lists.items() if not values]:
        raise ConfigError(f"{' and '.join(empty)} must hold at least one value.")
    if rough := [f"{value:g}" for value in lists["zeta"] if 1 < value < 2]:
        raise ConfigError(
            f"zeta holds {', '.join(rough)}: between 1 and 2 forces have no derivative where three atoms are in "
            "line. Give 1, or 2 and more."
        )
