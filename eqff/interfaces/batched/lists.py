"""Neighbour lists of many structures that move at once: searched with a skin, measured where their positions are.

A search takes pairs within cutoff + skin, of each structure for itself. At every step, all structures together, those
within the cutoff are kept, and it is looked at which structures need a new search; by the bound of
`eqff.interfaces.skin`, with twice the longest move instead of the sum of the two longest. Pairs of molecules of few
atoms are complete and never searched again.

Engines wrap atoms into the cell. Positions are therefore taken in the image next to where the search found them, also
for the model, whose results don't depend on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from eqff.data.cells import exactly_transformed
from eqff.data.graph import CONTACT
from eqff.data.neighbours import check_cell, neighbour_pairs, require_apart
from eqff.interfaces.pairs import Found
from eqff.interfaces.skin import FEW, ListsWithSkin

_MARGINS = {torch.float64: 1e-9, torch.float32: 1e-4}
"""Å of the bound that rounding can take away."""


@dataclass(frozen=True)
class Geometry:
    """B structures of N atoms in all, on one device.

    Attributes:
        positions: Å, (N, 3).
        cell: Lattice vectors as rows in Å, (B, 3, 3); zero where a direction is open.
        pbc: (B, 3) bool.
        batch: Structure of each atom, (N,) int64, ascending.
    """

    positions: Tensor
    cell: Tensor
    pbc: Tensor
    batch: Tensor


@dataclass(frozen=True)
class Candidates:
    """Pairs of one list that a search found, of all structures, sorted by receiver.

    Attributes:
        index: Sender and receiver, (2, E) int64.
        shift: Lattice translations of the sender, (E, 3).
    """

    index: Tensor
    shift: Tensor


class _Search:
    """What was found, by structure, and where the atoms and cells were.

    Args:
        geometry: Of the first search.
        reaches: Å, by name of the list.
    """

    def __init__(self, geometry: Geometry, reaches: Mapping[str, float]):
        count = geometry.cell.shape[0]
        self._reaches = reaches
        self.pbc, self.batch = geometry.pbc.clone(), geometry.batch.clone()
        sizes = torch.bincount(geometry.batch, minlength=count)
        self._ends = sizes.cumsum(0).tolist()
        self._starts = [0, *self._ends[:-1]]
        self.complete = (sizes <= FEW) & ~geometry.pbc.any(dim=1)
        self.all_complete = bool(self.complete.all())
        self.positions, self.cell = geometry.positions.clone(), geometry.cell.clone()
        self._found: list[dict[str, Found]] = [{} for _ in range(count)]
        self.candidates: dict[str, Candidates] = {}
        self.again(geometry, torch.ones(count, dtype=torch.bool))

    def again(self, geometry: Geometry, which: Tensor) -> int:
        """Searches the pairs of some structures anew.

        Args:
            geometry: Of now.
            which: (B,) bool.

        Returns:
            How many.
        """
        positions, cells = (tensor.detach().double().cpu().numpy() for tensor in (geometry.positions, geometry.cell))
        pbc = geometry.pbc.cpu().numpy()
        complete, chosen = self.complete.tolist(), which.nonzero()[:, 0].tolist()
        for number in chosen:
            check_cell(cells[number], pbc[number], f"structure {number} of the batch")
            place = slice(self._starts[number], self._ends[number])
            for name, reach in self._reaches.items():
                reach = np.inf if complete[number] else reach
                self._found[number][name] = neighbour_pairs(positions[place], cells[number], pbc[number], reach)
        which = which.to(geometry.batch.device)
        self.positions = torch.where(which[geometry.batch][:, None], geometry.positions, self.positions)
        self.cell = torch.where(which[:, None, None], geometry.cell, self.cell)
        self.candidates = {name: self._joined(name, geometry.positions) for name in self._reaches}
        return len(chosen)

    def _joined(self, name: str, like: Tensor) -> Candidates:
        found = [structure[name] for structure in self._found]
        sender, receiver = (
            np.concatenate([pairs[end] + start for pairs, start in zip(found, self._starts, strict=True)])
            for end in (0, 1)
        )
        shift = np.concatenate([pairs[2] for pairs in found])
        index = torch.from_numpy(np.stack((sender, receiver))).to(like.device)
        return Candidates(index, torch.from_numpy(shift).to(like))


class BatchLists(ListsWithSkin):
    """Lists of a batch along its trajectory."""

    _search: _Search | None = None
    _inverted: tuple[Tensor, Tensor] | None = None

    def __call__(self, geometry: Geometry) -> tuple[Tensor, dict[str, Candidates]]:
        """Positions next to those of the last search, (N, 3) in Å, and the pairs within the cutoffs, by list.

        Raises:
            DataError: A periodic direction without a lattice vector, or two atoms that lie on each other.
        """
        self.updates += 1
        search = self._search
        if search is None or not _same_structures(search, geometry):
            search = self._search = _Search(geometry, {n: cutoff + self.skin for n, cutoff in self.cutoffs.items()})
            self.searches += geometry.cell.shape[0]
        positions, stale = self._followed(search, geometry)
        if bool(stale.any()):
            self.searches += search.again(geometry, stale)
            positions, _ = self._followed(search, geometry)
        shortest = min(self.cutoffs.values(), default=0.0)  # every other list has its pairs
        lists = {
            name: _within(search.candidates[name], cutoff, positions, geometry, look=cutoff == shortest)
            for name, cutoff in self.cutoffs.items()
        }
        return positions, lists

    def _followed(self, search: _Search, geometry: Geometry) -> tuple[Tensor, Tensor]:
        """Positions in the image next to the search's, and which structures' lists may lack a pair, (B,)."""
        if search.all_complete:
            return geometry.positions, torch.zeros_like(search.complete)
        cell, batch = geometry.cell, geometry.batch
        deformation, shrinking = _deformation(search.cell, cell)
        moves = geometry.positions - exactly_transformed(search.positions, deformation[batch])
        images = exactly_transformed(moves, self._inverse(cell)[batch]).round()
        jumps = exactly_transformed(images, cell[batch])
        lengths = torch.linalg.vector_norm(moves - jumps, dim=1)
        longest = lengths.new_zeros(cell.shape[0]).scatter_reduce(0, batch, lengths, "amax")
        stale = torch.zeros_like(search.complete)
        for cutoff in self.cutoffs.values():
            reach = shrinking * (cutoff + self.skin) - 2 * longest
            stale = stale | (reach < cutoff + _MARGINS[lengths.dtype])
        return geometry.positions - jumps, stale & ~search.complete

    def _inverse(self, cell: Tensor) -> Tensor:
        """Of lattice vectors, (B, 3, 3): from positions to whole translations; kept until cells change."""
        if self._inverted is None or not torch.equal(self._inverted[0], cell):
            self._inverted = cell.clone(), torch.linalg.pinv(cell.double()).to(cell)
        return self._inverted[1]


def _same_structures(search: _Search, geometry: Geometry) -> bool:
    same = search.pbc.shape == geometry.pbc.shape and search.batch.shape == geometry.batch.shape
    return same and bool((search.pbc == geometry.pbc).all() & (search.batch == geometry.batch).all())


def _deformation(before: Tensor, now: Tensor) -> tuple[Tensor, Tensor]:
    """F (B, 3, 3) with before @ F = now along lattice vectors and nothing changed across; its least singular values."""
    if bool((before == now).all()):
        identity = torch.eye(3, dtype=now.dtype, device=now.device)
        return identity.expand_as(now), now.new_ones(now.shape[0])
    wide, start = now.double(), before.double()  # products of these are not rounded by TF32
    deformation = torch.eye(3, dtype=wide.dtype, device=now.device) + torch.linalg.pinv(start) @ (wide - start)
    return deformation.to(now), torch.linalg.svdvals(deformation)[:, -1].to(now)


def _within(candidates: Candidates, cutoff: float, positions: Tensor, geometry: Geometry, look: bool) -> Candidates:
    """Those within the cutoff; on demand it is looked whether two atoms lie on each other."""
    sender, receiver = candidates.index
    shifts = exactly_transformed(candidates.shift, geometry.cell[geometry.batch[receiver]])
    vectors = positions[sender] - positions[receiver] + shifts
    squares = (vectors * vectors).sum(dim=1)
    if look and bool((squares < CONTACT**2).any()):
        _refuse(candidates.index, vectors, geometry.batch)
    kept = (squares < cutoff**2).nonzero()[:, 0]
    return Candidates(candidates.index[:, kept], candidates.shift[kept])


def _refuse(index: Tensor, vectors: Tensor, batch: Tensor) -> None:
    """Raises DataError naming two atoms that lie on each other, by their numbers in their structure."""
    structure = int(batch[index[0, (vectors * vectors).sum(dim=1).argmin()]])
    sender, receiver = (index - int((batch < structure).sum())).cpu().numpy()
    require_apart(sender, receiver, vectors.cpu().numpy(), f"structure {structure} of the batch")
