"""Pairs within molecules whose interaction is scaled, usually to nothing: exclusions of classical force fields."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.errors import ModelError
from eqff.longrange.reduction import less_oblique


@dataclass(frozen=True)
class PairScaling:
    """Pairs of atoms that interact by another factor than 1.

    Under periodic boundaries a factor holds for the nearest image alone: every other image of a molecule is another
    molecule.

    Attributes:
        first: One atom of each pair, (M,); each pair stands here once.
        second: The other one, (M,).
        factor: 0 to leave the pair out, (M,) float64.
    """

    first: Tensor
    second: Tensor
    factor: Tensor

    @classmethod
    def of_groups(cls, groups: Tensor, graph: AtomicGraph, factor: float = 0.0) -> PairScaling:
        """All pairs of atoms that are in one structure and have the same number.

        Args:
            groups: Number of the group (molecule) of each atom, (N,) int64; negative for an atom in none.
            graph: The batch.
            factor: Of each such pair.

        Raises:
            ModelError: A group spans more than half of its cell; found before its pairs, which are many, are made.
        """
        batch = graph.batch
        span = int(groups.max()) + 1 if groups.numel() else 1
        number = torch.where(groups < 0, -1, batch * max(span, 1) + groups)
        order = torch.argsort(number, stable=True)
        order = order[number[order] >= 0]
        sizes = torch.unique_consecutive(number[order], return_counts=True)[1]
        ends = sizes.cumsum(0).repeat_interleave(sizes)
        if bool(graph.pbc.any()):
            begins = ends - sizes.repeat_interleave(sizes)
            cls(order, order[begins], torch.ones_like(order, dtype=torch.float64)).vectors(graph)
        # every atom with all that come after it in its group
        place = torch.arange(len(order), device=batch.device)
        later = ends - place - 1
        first = place.repeat_interleave(later)
        begin = (later.cumsum(0) - later).repeat_interleave(later)
        second = first + 1 + torch.arange(len(first), device=batch.device) - begin
        factors = torch.full((len(first),), factor, dtype=torch.float64, device=batch.device)
        return cls(order[first], order[second], factors)

    def vectors(self, graph: AtomicGraph) -> Tensor:
        """From the second atom of each pair to the first one, nearest images, Å, float64, (M, 3).

        Raises:
            ModelError: A pair spans more than half of its cell, so that the nearest image may not be its own one.
        """
        positions = graph.positions.to(torch.float64)
        vectors = positions[self.first] - positions[self.second]
        structure = graph.batch[self.first]
        if not bool(graph.pbc[structure].any()):
            return vectors
        cell = less_oblique(graph.cell.to(torch.float64), graph.pbc)  # whose nearest images rounding finds
        eye = torch.eye(3, dtype=torch.float64, device=cell.device)
        filled = _completed(cell.detach(), graph.pbc, eye)
        turns = (vectors.detach()[:, None, :] @ torch.linalg.inv(filled)[structure])[:, 0]
        whole = torch.where(graph.pbc[structure], turns.round(), 0.0)
        nearest = vectors - (whole[:, None, :] @ cell[structure])[:, 0]
        self._require_unique(nearest, filled, graph.pbc, structure)
        return nearest

    def _require_unique(self, vectors: Tensor, filled: Tensor, pbc: Tensor, structure: Tensor) -> None:
        # within half of the smallest distance of lattice planes an image is the nearest one
        heights = 1 / torch.linalg.vector_norm(torch.linalg.inv(filled), dim=1)
        half = 0.5 * torch.where(pbc, heights, torch.inf).amin(dim=1)[structure]
        lengths = torch.linalg.vector_norm(vectors.detach(), dim=1)
        bad = lengths >= half
        if bool(bad.any()):
            pair = int(bad.nonzero()[0])
            raise ModelError(
                f"Atoms {int(self.first[pair])} and {int(self.second[pair])} of the batch (structure "
                f"{int(structure[pair])}) are of one group but {float(lengths[pair]):.2f} Å apart, more than half of "
                f"the cell ({float(half[pair]):.2f} Å): which image is excluded isn't clear. Take a larger cell, or "
                "smaller groups."
            )


def _completed(cell: Tensor, pbc: Tensor, eye: Tensor) -> Tensor:
    """Cells whose open rows are unit vectors at right angles to the lattice, (B, 3, 3), without derivatives."""
    rows = torch.where(pbc[:, :, None], cell, 0.0)
    # the null space of the lattice vectors, from the outer products that vanish on it
    _, vectors = torch.linalg.eigh(rows.transpose(1, 2) @ rows)
    rank = (~pbc).long().cumsum(dim=1) - 1
    open_rows = torch.gather(vectors.transpose(1, 2), 1, rank.clamp(min=0)[:, :, None].expand(-1, -1, 3))
    return torch.where(pbc[:, :, None], cell, open_rows)
