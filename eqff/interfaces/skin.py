"""Neighbour lists that outlive a step: pairs are searched with a skin, and each step keeps those within the cutoff.

A list found with cutoff + skin holds every pair within the cutoff as long as no pair can have come closer by more than
the skin [Verlet, Phys. Rev. 159, 98 (1967)]. Cells may change too (barostats, relaxation of the cell). Lattice
translations are kept as whole numbers, so they follow the cell, and what atoms move is counted beyond the homogeneous
deformation F that takes the cell at the time of the search to the cell of now. For a pair's vector d₀ at the search and
d now, d = d₀F + uⱼ - uᵢ with u the displacements beyond F, so

    |d| ≥ σ_min(F) |d₀| - |uᵢ| - |uⱼ|,

with σ_min the smallest singular value of F. A pair that is not on the list had |d₀| ≥ cutoff + skin, and can't be
within the cutoff while σ_min(F) (cutoff + skin) - |uᵢ| - |uⱼ| ≥ cutoff.

Of a small molecule the list has all pairs and holds for ever: measuring them takes less than to look whether it holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from eqff.data.neighbours import check_cell, neighbour_pairs, require_apart
from eqff.errors import ModelError
from eqff.interfaces.compiled_pairs import found_pairs
from eqff.interfaces.pairs import FoundPairs, Pairs

FEW = 32
"""Atoms up to which all pairs of a structure without periodic directions are its list."""

_NO_CELL = np.zeros((3, 3))
_OPEN = bytes(3)
"""Periodicity of what has no periodic direction."""


@dataclass(frozen=True)
class _Search:
    """What was found, and where the atoms and the cell were then; ``cell`` has zero rows where not periodic.

    ``complete`` lists hold wherever the atoms go.
    """

    positions: np.ndarray
    cell: np.ndarray
    pbc: bytes
    pairs: dict[str, FoundPairs]
    complete: bool


class ListsWithSkin:
    """Neighbour lists that are searched up to cutoff + skin; whatever is asked for, the answer is that of a new search.

    Args:
        cutoffs: Å, by name of the list.
        skin: Å; 0 searches at every step in which something moved, but for small molecules.

    Raises:
        ModelError: A skin below zero.

    Attributes:
        searches: How often pairs of a structure were searched.
        updates: How often pairs were asked for.
    """

    def __init__(self, cutoffs: Mapping[str, float], skin: float):
        if not 0 <= skin < np.inf:
            raise ModelError(f"skin is {skin}: give a length in Å, 0 or more.")
        self.cutoffs = {name: float(cutoff) for name, cutoff in cutoffs.items()}
        self.skin = float(skin)
        self.searches, self.updates = 0, 0


class SkinLists(ListsWithSkin):
    """Lists of one structure along a trajectory.

    The pairs kept, and their order, are decided by positions and cell alone, never by when the last search was. So a
    trajectory that is resumed from its positions goes on to the same bit.
    """

    _search: _Search | None = None

    def __call__(self, positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray) -> dict[str, Pairs]:
        """The pairs of each list, by name.

        Args:
            positions: Å, (N, 3), finite.
            cell: Lattice vectors as rows in Å, (3, 3).
            pbc: (3,) bool.

        Raises:
            DataError: A periodic direction without a lattice vector, or two atoms that lie on each other.
        """
        directions = pbc.tobytes()
        periodic = directions != _OPEN
        box = np.where(pbc[:, None], cell, 0.0) if periodic else _NO_CELL
        self.updates += 1
        search = self._search
        if search is None or not self._holds(search, positions, box, directions):
            check_cell(cell, pbc, "structure")
            search = self._search = self._new_search(positions, box, pbc)
        vectors = box if periodic else None
        lists = {}
        for name, found in search.pairs.items():
            lists[name] = pairs = found(positions, vectors)
            if found.touching:
                require_apart(pairs.sender, pairs.receiver, pairs.vectors, "structure")
        return lists

    def _new_search(self, positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray) -> _Search:
        self.searches += 1
        complete = len(positions) <= FEW and not np.any(pbc)
        reach = np.inf if complete else self.skin
        pairs = {}
        for name, cutoff in self.cutoffs.items():
            pairs[name] = found_pairs(neighbour_pairs(positions, cell, pbc, cutoff + reach), cutoff)
        return _Search(positions.copy(), cell, pbc.tobytes(), pairs, complete)

    def _holds(self, search: _Search, positions: np.ndarray, cell: np.ndarray, pbc: bytes) -> bool:
        """Whether no pair that is not on the lists can be within a cutoff."""
        if len(positions) != len(search.positions) or pbc != search.pbc:
            return False
        if search.complete:
            return True
        deformation, shrinking = _deformation(search.cell, cell, np.frombuffer(pbc, dtype=bool))
        moved = np.sort(np.linalg.norm(positions - search.positions @ deformation, axis=1))
        closer = 2 * moved[-1] if len(moved) == 1 else moved[-1] + moved[-2]  # an atom and its own image: 0, so safe
        margin = 1e-9  # rounding of the bound itself
        return all(shrinking * (cutoff + self.skin) - closer >= cutoff + margin for cutoff in self.cutoffs.values())


def _deformation(before: np.ndarray, now: np.ndarray, pbc: np.ndarray) -> tuple[np.ndarray, float]:
    """F (3, 3) with ``before[pbc] @ F = now[pbc]``, leaving other directions alone; its smallest singular value."""
    if not pbc.any() or np.array_equal(before, now):
        return np.eye(3), 1.0
    deformation = np.eye(3) + np.linalg.pinv(before[pbc]) @ (now[pbc] - before[pbc])
    return deformation, float(np.linalg.svd(deformation, compute_uv=False)[-1])
