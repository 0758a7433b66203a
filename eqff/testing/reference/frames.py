"""Moments of water that turn with the molecule, as AMOEBA's do."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.longrange.multipoles.moments import Moments


def moments_that_turn(
    graph: AtomicGraph, moments: Moments, molecules: Sequence[Sequence[int]]
) -> Callable[[AtomicGraph], Moments]:
    """From moments in the lab frame of one geometry to those in another one of the same molecules.

    Args:
        graph: The geometry of the moments.
        moments: Charges, dipoles and quadrupoles.
        molecules: Oxygen and both hydrogens of each water; other atoms have no frame.
    """
    before = _frames(graph.positions, molecules)

    def moments_in(moved: AtomicGraph) -> Moments:
        turn = _frames(moved.positions, molecules).transpose(1, 2) @ before
        dipoles = (turn @ moments.dipoles[:, :, None])[:, :, 0]
        return Moments(moments.charges, dipoles, turn @ moments.quadrupoles @ turn.transpose(1, 2))

    return moments_in


def _frames(positions: Tensor, molecules: Sequence[Sequence[int]]) -> Tensor:
    """Axes x, y, z as rows, (N, 3, 3): of oxygen along the bisector, of hydrogen along the bond."""
    oxygen, one, two = torch.tensor(molecules).T
    bonds = [_unit(positions[hydrogen] - positions[oxygen]) for hydrogen in (one, two)]
    frames = torch.eye(3, dtype=positions.dtype).repeat(len(positions), 1, 1)
    frames = frames.index_copy(0, oxygen, _frame(bonds[0] + bonds[1], bonds[0]))
    for hydrogen, other in ((one, two), (two, one)):
        axis, plane = positions[oxygen] - positions[hydrogen], positions[other] - positions[hydrogen]
        frames = frames.index_copy(0, hydrogen, _frame(axis, plane))
    return frames


def _frame(axis: Tensor, plane: Tensor) -> Tensor:
    z = _unit(axis)
    x = _unit(plane - (plane * z).sum(dim=1, keepdim=True) * z)
    return torch.stack([x, torch.linalg.cross(z, x), z], dim=1)


def _unit(vectors: Tensor) -> Tensor:
    return vectors / torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
