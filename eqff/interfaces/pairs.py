"""Pairs of one neighbour list along a trajectory: those within the cutoff, found in as few operations as can be.

What a search found is measured at every step. While the same pairs are within the cutoff, the arrays of the step before
serve again. Vectors and lengths are measured for who asks: models that are differentiated measure their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from eqff.data.graph import CONTACT

Found = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Sender, receiver and shift, as `eqff.data.neighbours.neighbour_pairs` gives them."""


@dataclass(frozen=True, eq=False)
class Kept:
    """Of the pairs that a search found, those within the cutoff; fields as of `eqff.data.graph.Edges`.

    Attributes:
        sender: (E,) int64.
        receiver: (E,) int64, ascending.
        shift: (E, 3).
        slots: (N, K) int64.
    """

    sender: np.ndarray
    receiver: np.ndarray
    shift: np.ndarray
    slots: np.ndarray


class Pairs:
    """Directed pairs of one list within its cutoff, in the order of `eqff.data.neighbours.neighbour_pairs`.

    Args:
        kept: Which they are.
        positions: Of then in Å, (N, 3); must not change any more.
        cell: The same of the lattice vectors, (3, 3); None where nothing is periodic.

    Attributes:
        sender: (E,) int64.
        receiver: (E,) int64, ascending.
        shift: Lattice translations of the sender, whole numbers, (E, 3).
        slots: The same list as a table with a row for each receiver, as of `eqff.data.graph.Edges`, (N, K) int64.
    """

    def __init__(self, kept: Kept, positions: np.ndarray, cell: np.ndarray | None):
        self.sender, self.receiver, self.shift, self.slots = kept.sender, kept.receiver, kept.shift, kept.slots
        self._kept, self._positions, self._cell = kept, positions, cell

    @cached_property
    def vectors(self) -> np.ndarray:
        """From receiver to sender in Å, (E, 3)."""
        return _vectors(self.sender, self.receiver, self.shift, self._positions, self._cell)

    @cached_property
    def lengths(self) -> np.ndarray:
        """Å, (E,)."""
        return np.sqrt(np.vecdot(self.vectors, self.vectors))

    def same_as(self, other: Pairs) -> bool:
        """Whether these are known to be the same pairs, wherever their atoms are now."""
        return self._kept is other._kept


class FoundPairs:
    """What a search found, measured in one geometry after the other.

    Args:
        found: All pairs that can be within the cutoff.
        cutoff: Å.

    Attributes:
        touching: Whether two atoms lay on each other in the last geometry.
    """

    touching = False

    def __init__(self, found: Found, cutoff: float):
        self._found, self._cutoff = found, cutoff
        self._within: bytes | None = None
        self._kept: Kept | None = None

    def __call__(self, positions: np.ndarray, cell: np.ndarray | None) -> Pairs:
        """Those within the cutoff.

        Args:
            positions: Å, (N, 3).
            cell: Lattice vectors as rows in Å, (3, 3); None where nothing is periodic.
        """
        positions = np.array(positions, dtype=np.float64, order="C")  # a copy, as atoms go on moving
        vectors = _vectors(*self._found, positions, cell)
        squares = np.vecdot(vectors, vectors)
        self.touching = bool(squares.min(initial=np.inf) < CONTACT**2)
        inside = squares < self._cutoff**2
        within = inside.tobytes()
        if within != self._within or self._kept is None:
            place = inside.nonzero()[0]
            sender, receiver, shift = (array.take(place, axis=0) for array in self._found)
            self._within, self._kept = within, Kept(sender, receiver, shift, slots(receiver, len(positions)))
        return Pairs(self._kept, positions, cell)


def slots(receiver: np.ndarray, num_atoms: int) -> np.ndarray:
    """The same as `eqff.data.graph.edge_slots`."""
    counts = np.bincount(receiver, minlength=num_atoms)
    places = np.arange(counts.max(initial=0))
    first = counts.cumsum() - counts
    return np.where(places < counts[:, None], first[:, None] + places, len(receiver))


def _vectors(
    sender: np.ndarray, receiver: np.ndarray, shift: np.ndarray, positions: np.ndarray, cell: np.ndarray | None
) -> np.ndarray:
    vectors = positions.take(sender, axis=0) - positions.take(receiver, axis=0)
    return vectors if cell is None else vectors + shift @ cell
