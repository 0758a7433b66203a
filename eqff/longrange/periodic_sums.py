"""Sums over wave vectors of the periodic structures of a batch: as matrix products, or on a mesh for large ones."""

from __future__ import annotations

from typing import Protocol, TypeVar

import torch
from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.longrange.padding import Padding
from eqff.longrange.reduction import less_oblique
from eqff.longrange.tuning import Splitting

Bound = TypeVar("Bound", covariant=True)


class PeriodicSum(Protocol[Bound]):
    """A way of summing."""

    def bind(
        self, padding: Padding, positions: Tensor, cell: Tensor, pbc: Tensor, splitting: Splitting, accuracy: float
    ) -> Bound:
        """For positions (P, n, 3), cells (P, 3, 3) and pbc (P, 3) of structures with a periodic direction."""
        ...


def bind_by_size(
    graph: AtomicGraph,
    small: PeriodicSum[Bound],
    large: PeriodicSum[Bound],
    large_from: int,
    splitting: Splitting,
    accuracy: float,
) -> tuple[Bound, ...]:
    """Sums that together hold each periodic structure of a batch once; none of open ones.

    Args:
        graph: The batch.
        small: How structures below ``large_from`` atoms are summed.
        large: How all others are.
        large_from: Atoms.
        splitting: Between sums over neighbours and over waves.
        accuracy: What may be left out.
    """
    periodic = graph.pbc.any(dim=1)
    is_large = torch.bincount(graph.batch, minlength=graph.num_structures) >= large_from
    bound = []
    for chosen, way in ((periodic & ~is_large, small), (periodic & is_large, large)):
        structures = chosen.nonzero()[:, 0]
        if len(structures):
            padding = Padding.of(structures, graph.batch, graph.num_structures)
            positions = padding.gather(graph.positions.to(torch.float64))
            pbc = graph.pbc[structures]
            cell = less_oblique(graph.cell[structures].to(torch.float64), pbc)
            bound.append(way.bind(padding, positions, cell, pbc, splitting, accuracy))
    return tuple(bound)
