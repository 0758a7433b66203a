"""Charges and spin charges read from scalar features, with exact totals: what exchanges and heads have in common."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from eqff.errors import ConfigError, did_you_mean
from eqff.nn.projection import positive, project_to_total

LEAST_HARDNESS = 0.1
"""Of an atom, where that of a fresh model is about 1.4: softer ones would take charge without bound."""


class Readout(nn.Module):
    """A linear map plus a network with one hidden layer.

    Args:
        size: Inputs of each atom.
        outputs: Numbers to read.
        hidden: Width of the hidden layer; 0 for the linear map alone.
        bias: Whether the linear map has one.
    """

    def __init__(self, size: int, outputs: int, hidden: int, bias: bool = True):
        super().__init__()
        self.linear = nn.Linear(size, outputs, bias=bias)
        self.nonlinear = None
        if hidden:
            self.nonlinear = nn.Sequential(nn.Linear(size, hidden), nn.SiLU(), nn.Linear(hidden, outputs, bias=False))

    def forward(self, scalars: Tensor) -> Tensor:
        """From (N, size) to (N, outputs)."""
        read = self.linear(scalars)
        return read if self.nonlinear is None else read + self.nonlinear(scalars)


class UniformSharing(nn.Module):
    """q_i = q0_i + (Q - Σ q0)/N, as in PhysNet [Unke & Meuwly, JCTC 15, 3678 (2019)].

    Attributes:
        outputs: Numbers that it takes of each atom.
        bias: Whether a constant in them is worth training.
    """

    outputs = 1
    bias = False  # a constant in q0 cancels

    def forward(self, read: Tensor, total_charge: Tensor, batch: Tensor) -> Tensor:
        """Charges in e, (N,), from readings (N, outputs), total charges (B,), and the structure of each atom (N,)."""
        return project_to_total(read[:, 0], total_charge, batch)


class LearnedSharing(nn.Module):
    """q_i = q0_i + w_i (Q - Σ q0) with positive weights from the features, as in AIMNet2 [Anstine et al., Chem. Sci.
    16, 10228 (2025)]; attributes and call as for `UniformSharing`."""

    outputs = 2
    bias = True

    def forward(self, read: Tensor, total_charge: Tensor, batch: Tensor) -> Tensor:
        """Charges in e, (N,)."""
        return project_to_total(read[:, 0], total_charge, batch, positive(read[:, 1]))


class LinearEquilibration(nn.Module):
    """The charges that minimise Σ_i (χ_i q_i + ½ η_i q_i²) under Σ q = Q.

    Charge equilibration without its Coulomb part [Rappé & Goddard, J. Phys. Chem. 95, 3358 (1991)]. The solution
    q_i = -χ_i/η_i + λ/η_i is the projection with q0 = -χ/η and weights 1/η. Electronegativity χ and hardness η > 0 are
    read from the features, in a unit that cancels. Attributes and call as for `UniformSharing`.
    """

    outputs = 2
    bias = False  # a constant in every χ moves λ alone

    def __init__(self):
        super().__init__()
        self.hardness = nn.Parameter(torch.ones(1))

    def forward(self, read: Tensor, total_charge: Tensor, batch: Tensor) -> Tensor:
        """Charges in e, (N,)."""
        softness = 1.0 / (LEAST_HARDNESS + positive(read[:, 1] + self.hardness))
        return project_to_total(-read[:, 0] * softness, total_charge, batch, softness).to(read.dtype)


Sharing = UniformSharing | LearnedSharing | LinearEquilibration
Weights = Literal["learned", "uniform", "inverse_hardness"]
SHARINGS: dict[str, type[Sharing]] = {
    "learned": LearnedSharing,
    "uniform": UniformSharing,
    "inverse_hardness": LinearEquilibration,
}
"""How what is missing to the total charge is shared out, by the name that configs use."""


def sharing(weights: str) -> Sharing:
    """The way of sharing of this name.

    Raises:
        ConfigError: There is none.
    """
    if weights not in SHARINGS:
        raise ConfigError(f"There are no '{weights}' weights for charges.{did_you_mean(weights, SHARINGS)}")
    return SHARINGS[weights]()


class SpinChannels(nn.Module):
    """Charges of the two spin channels, each equilibrated to its own total [AIMNet-NSE].

    For α and β, q_i^s = q̃_i^s + f_i^s (Q^s - Σ_j q̃_j^s) / Σ_j f_j^s with f > 0, Q^α = (Q - n_u)/2 and
    Q^β = (Q + n_u)/2, where n_u = multiplicity - 1 [Zubatyuk et al., Nat. Commun. 12, 4870 (2021)]. The charge is
    q = q^α + q^β, the spin charge s = q^β - q^α: positive where there are more α electrons.

    What is read are the mean and the difference of the channels. Turning all spins over exchanges α and β, which may
    only change the sign of s; since n_u ≥ 0 says that α is the majority, that leaves open shells as they are, while for
    n_u = 0 both channels must be equal. There the difference is left out, so singlets have s = 0 exactly.

    Args:
        size: Inputs of each atom.
        hidden: Width of the nonlinear readout.
        broken_symmetry: Whether singlets may have spin charges too, which then sum to zero.
        scale: e; times what is read.
    """

    def __init__(self, size: int, hidden: int, broken_symmetry: bool = False, scale: float = 1.0):
        super().__init__()
        self.scale = scale
        self.readout = Readout(size, 4, hidden)
        self.broken_symmetry = broken_symmetry

    def forward(
        self,
        scalars: Tensor,
        total_charge: Tensor,
        multiplicity: Tensor,
        batch: Tensor,
        previous: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Charges in e and spin charges, (N,) each.

        Args:
            scalars: (N, size).
            total_charge: e, (B,).
            multiplicity: 2S + 1, (B,).
            batch: Structure of each atom, (N,).
            previous: Charges and spin charges, (N,) each, that what is read is added to; None for zero.
        """
        total_charge, unpaired = total_charge.to(torch.float64), multiplicity.to(torch.float64) - 1.0
        polarized = torch.ones_like(unpaired) if self.broken_symmetry else (unpaired > 0).to(torch.float64)
        polarized = polarized[batch]
        # float64 from here on: q and s are rounded once, so both totals hold to the last digit
        charge, spin, weight, difference = (self.scale * self.readout(scalars)).to(torch.float64).unbind(dim=1)
        if previous is not None:
            charge, spin = charge + previous[0].to(torch.float64), spin + previous[1].to(torch.float64)
        spin, difference = polarized * spin, polarized * difference
        values = 0.5 * torch.stack([charge - spin, charge + spin], dim=1)
        weights = positive(torch.stack([weight - difference, weight + difference], dim=1))
        totals = 0.5 * torch.stack([total_charge - unpaired, total_charge + unpaired], dim=1)
        alpha, beta = project_to_total(values, totals, batch, weights).unbind(dim=1)
        # the factor keeps the order in which a GPU adds up from giving singlets 1e-17
        return (alpha + beta).to(scalars.dtype), (polarized * (beta - alpha)).to(scalars.dtype)
