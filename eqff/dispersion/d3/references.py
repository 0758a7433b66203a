"""The references of D3 for the elements of a model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from eqff.dispersion.references import PairCoefficients, gaussian_weights
from eqff.dispersion.tables import rows, table
from eqff.nn.exact import ExactModule
from eqff.units import BOHR, HARTREE

EXPONENT = 4.0
PACKED = 1e-4
"""Unit of the whole numbers in the table."""


class D3References(ExactModule):
    """C6 coefficients that follow the coordination numbers.

    Args:
        elements: Atomic numbers, in the order of the rows.

    Raises:
        ConfigError: An element beyond Z = 103.
    """

    coordination: Tensor
    exponents: Tensor
    c6: Tensor

    def __init__(self, elements: Sequence[int]):
        super().__init__()
        rows(table("elements")["covalent_radii"], elements)  # refuses elements that are not there
        places = [(table("d3")["element"] == z).nonzero()[:, 0] for z in elements]
        width = max(len(found) for found in places)
        coordination = torch.zeros(len(elements), width, dtype=torch.float64)
        exponents = torch.full((len(elements), width, 1), torch.nan, dtype=torch.float64)
        index = torch.zeros(len(elements), width, dtype=torch.int64)
        for row, found in enumerate(places):
            coordination[row, : len(found)] = table("d3")["coordination"][found]
            exponents[row, : len(found)] = EXPONENT
            index[row, : len(found)] = found
        self.register_buffer("coordination", coordination, persistent=False)
        self.register_buffer("exponents", exponents, persistent=False)
        self.register_buffer("c6", _c6_of(index), persistent=False)

    def forward(self, coordination: Tensor, species: Tensor) -> PairCoefficients:
        """From coordination numbers (N,) and the rows of the atoms' elements (N,)."""
        weights = gaussian_weights(coordination, self.coordination[species], self.exponents[species])
        return PairCoefficients.of(weights, species, self.c6)


def _c6_of(index: Tensor) -> Tensor:
    """C6 of every two references in eV·Å⁶, (S, A, S, A), from their places in the table (S, A)."""
    flat, count = index.flatten(), len(table("d3")["element"])
    low, high = torch.minimum(flat[:, None], flat), torch.maximum(flat[:, None], flat)
    # the upper triangle lies row by row: row i begins after the i rows above it, and at its own diagonal
    place = low * count - low * (low - 1) // 2 + high - low
    c6 = table("d3")["c6"][place].to(torch.float64) * PACKED
    return (c6 * HARTREE * BOHR**6).reshape(*index.shape, *index.shape)


def pair_radii(elements: Sequence[int]) -> Tensor:
    """Radii of every two elements in Å, (S, S), float64: D3's own table, no sums of radii of atoms."""
    numbers, size = torch.tensor(list(elements)), len(table("elements")["r4_over_r2"])
    low, high = torch.minimum(numbers[:, None], numbers), torch.maximum(numbers[:, None], numbers)
    place = low * size - low * (low - 1) // 2 + high - low
    return table("d3")["pair_radii"][place].to(torch.float64) * PACKED
