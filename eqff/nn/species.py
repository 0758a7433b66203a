"""Atomic numbers to rows of learned tables."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class SpeciesIndex(nn.Module):
    """Atomic number to the place of its element among those that a model covers.

    Args:
        elements: Atomic numbers, in the order of the rows.
    """

    def __init__(self, elements: Sequence[int]):
        super().__init__()
        self.size = len(elements)
        table = torch.zeros(max(elements) + 1, dtype=torch.int64)
        table[torch.tensor(list(elements))] = torch.arange(len(elements))
        self.register_buffer("table", table, persistent=False)

    def forward(self, numbers: Tensor) -> Tensor:
        """Indices (N,). Elements outside the model are `Potential.require_elements`'s to refuse."""
        return self.table[numbers]


def species_rows(table: Tensor, species: Tensor) -> Tensor:
    """Rows (N, ...) of a table (elements, ...) by species index (N,).

    A product with a matrix of zeros and ones: its derivative is a product too, where that of an index adds row by row.
    """
    chosen = nn.functional.one_hot(species, table.shape[0]).to(table.dtype)
    return (chosen @ table.flatten(1)).view(-1, *table.shape[1:])
