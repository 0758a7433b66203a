"""Where the coupled oscillators of periodic structures are sampled: q points of the Brillouin zone.

Waves of dipoles that run through a crystal contribute to the energy with every wave vector. A grid that is shifted by
half a step never has q = 0, where the field of a wave depends on its direction [Monkhorst & Pack, Phys. Rev. B 13, 5188
(1976); in MBD Bučko et al., J. Phys. Condens. Matter 28, 045201 (2016)].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from eqff.data.graph import AtomicGraph


@dataclass(frozen=True)
class Samples:
    """M samples of the structures of a batch.

    Attributes:
        structure: Of each sample, (M,), ascending.
        fractions: q in reciprocal lattice vectors, (M, 3).
        weights: Of each sample; those of a structure sum to 1, (M,).
        at_origin: Whether every q is zero, so that matrices are real.
    """

    structure: Tensor
    fractions: Tensor
    weights: Tensor
    at_origin: bool

    def __len__(self) -> int:
        return len(self.structure)


def samples_of(graph: AtomicGraph, grid: Sequence[int] | None, spacing: float | None) -> tuple[Samples, ...]:
    """All samples in at most two groups: those at q = 0 and the others.

    Args:
        graph: The batch. Open structures have one sample, q = 0; open directions of slabs and wires have one point.
        grid: Points along each reciprocal vector, of every structure.
        spacing: Or their largest distance in 1/Å. With neither, periodic structures are sampled at q = 0 only.
    """
    periodic = graph.pbc.any(dim=1)
    if grid is None and spacing is None:
        return (_origin(torch.arange(graph.num_structures, device=periodic.device)),)
    groups = [_origin((~periodic).nonzero()[:, 0])]
    crystals = periodic.nonzero()[:, 0]
    if len(crystals):
        groups.append(_shifted_grid(crystals, _points(graph, crystals, grid, spacing), graph.pbc[crystals]))
    return tuple(group for group in groups if len(group))


def _origin(structures: Tensor) -> Samples:
    zero = torch.zeros(len(structures), 3, dtype=torch.float64, device=structures.device)
    return Samples(structures, zero, torch.ones_like(zero[:, 0]), True)


def _points(graph: AtomicGraph, structures: Tensor, grid: Sequence[int] | None, spacing: float | None) -> Tensor:
    """Points along each direction, (P, 3) int64."""
    pbc = graph.pbc[structures]
    if grid is not None:
        return torch.where(pbc, torch.tensor(list(grid), device=pbc.device), 1)
    cell = graph.cell[structures].detach().to(torch.float64)
    # rows of open directions need not exist: the pseudo-inverse gives the reciprocal of the others
    reciprocal = 2 * torch.pi * torch.linalg.pinv(torch.where(pbc[:, :, None], cell, 0.0)).transpose(1, 2)
    lengths = torch.linalg.vector_norm(reciprocal, dim=-1)
    # a cell strained by rounding must not get one point more
    return torch.where(pbc, (lengths / spacing - 1e-6).ceil().clamp(min=1).long(), 1)


def _shifted_grid(structures: Tensor, points: Tensor, pbc: Tensor) -> Samples:
    """Points (i + 1/2)/n; of q and -q, which have the same energy, the first with the weight of both."""
    total = points.prod(dim=1)
    kept = (total + 1) // 2  # -q of the i-th point is the last but i
    row = torch.repeat_interleave(torch.arange(len(structures), device=points.device), kept)
    place = torch.arange(len(row), device=points.device) - (kept.cumsum(0) - kept)[row]
    counts = points[row]
    index = torch.stack(
        [place // (counts[:, 1] * counts[:, 2]), place // counts[:, 2] % counts[:, 1], place % counts[:, 2]], dim=1
    )
    fractions = torch.where(pbc[row], (index.to(torch.float64) + 0.5) / counts, 0.0)
    own_mirror = 2 * place + 1 == total[row]
    return Samples(structures[row], fractions, torch.where(own_mirror, 1.0, 2.0).to(torch.float64) / total[row], False)
