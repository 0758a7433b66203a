"""The references of D4 for the elements of a model, and how charges scale them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from eqff.dispersion.references import PairCoefficients, gaussian_weights
from eqff.dispersion.tables import rows, table
from eqff.nn.exact import ExactModule
from eqff.units import BOHR, HARTREE

EXPONENT = 6.0
HEIGHT, STEEPNESS = 3.0, 2.0
# fmt: off
INTEGRATION = (
    0.0249995, 0.0499995, 0.075, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.15, 0.2, 0.2, 0.2, 0.2, 0.35, 0.5, 0.75, 1.0,
    1.75, 2.5, 1.25,
)
# fmt: on
"""Trapezoidal weights of the imaginary frequencies at which polarizabilities are tabulated, in atomic units."""


class D4References(ExactModule):
    """C6 coefficients and polarizabilities that follow coordination numbers and charges.

    Args:
        elements: Atomic numbers, in the order of the rows.

    Raises:
        ConfigError: An element beyond Z = 103.
    """

    coordination: Tensor
    exponents: Tensor
    charges: Tensor
    nuclear: Tensor
    hardness: Tensor
    static: Tensor
    c6: Tensor

    def __init__(self, elements: Sequence[int]):
        super().__init__()
        data = {key: rows(values, elements) for key, values in table("d4").items()}
        count = data["gaussians"].to(torch.float64)[:, :, None]
        order = torch.arange(1, int(count.max()) + 1, dtype=torch.float64)
        alpha = data["polarizability"]
        c6 = 3 / math.pi * torch.einsum("iaw,jbw,w->iajb", alpha, alpha, alpha.new_tensor(INTEGRATION))
        buffers = {
            "coordination": data["coordination"],
            "exponents": torch.where(order <= count, EXPONENT * order, torch.nan),
            "charges": data["charges"],
            "nuclear": data["nuclear_charge"].to(torch.float64),
            "hardness": data["hardness"],
            "static": alpha[:, :, 0] * BOHR**3,
            "c6": c6 * HARTREE * BOHR**6,
        }
        for name, values in buffers.items():
            self.register_buffer(name, values, persistent=False)

    def weights(self, coordination: Tensor, charges: Tensor, species: Tensor) -> Tensor:
        """Of each atom's references, (N, A), scaled by charge, so that they need not sum to 1.

        Args:
            coordination: CN, (N,).
            charges: e, (N,).
            species: Rows of the atoms' elements, (N,).
        """
        like = gaussian_weights(coordination, self.coordination[species], self.exponents[species])
        nuclear = self.nuclear[species][:, None]
        scaling = charge_scaling(
            self.charges[species] + nuclear, charges[:, None] + nuclear, STEEPNESS * self.hardness[species][:, None]
        )
        return like * scaling

    def forward(self, weights: Tensor, species: Tensor) -> PairCoefficients:
        """C6 of pairs from `weights`."""
        return PairCoefficients.of(weights, species, self.c6)

    def polarizabilities(self, weights: Tensor, species: Tensor) -> Tensor:
        """Static ones of atoms in Å³, (N,)."""
        return (weights * self.static[species]).sum(dim=1)


def charge_scaling(reference: Tensor, effective: Tensor, steepness: Tensor) -> Tensor:
    """exp(3 (1 - exp(c (1 - z_ref / z)))), the limit exp(3) where no electrons would be left over, z <= 0.

    Args:
        reference: Nuclear charge and charge of the reference, e, (N, A).
        effective: The same of the atom, e, (N, 1).
        steepness: c, (N, 1).
    """
    positive = effective > 0
    exponent = steepness * (1 - reference / torch.where(positive, effective, 1.0))
    # at z -> 0 the inner exponential has gone with all its derivatives
    inner = torch.where(positive, torch.exp(exponent.clamp(min=-700.0)), 0.0)
    return torch.exp(HEIGHT * (1 - inner))
