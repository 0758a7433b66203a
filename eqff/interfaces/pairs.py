"""Pairs of one neighbour list along a trajectory: those within the cutoff, found in as few operations as can be.

What a search found is measured at every step. While the same pairs are within the cutoff, the arrays of the step before
serve again. Vectors and lengths are handed out only to who asks: models that are differentiated measure their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

Found = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Sender, receiver and shift, as `eqff.data.neighbours.neighbour_pairs` gives them."""


@dataclass(frozen=True)
class Kept:
    """Of the pairs that a search found, those within the cutoff.

    Attributes:
        within: Which of the measured pairs are, as bytes.
        sender: (E,) int64.
        receiver: (E,) int64, ascending.
        shift: (E, 3).
        place: Of each among the measured pairs, (E,).
        backwards: Whether it was measured in the other direction, (E,); None if none was.
    """

    within: bytes
    sender: np.ndarray
    receiver: np.ndarray
    shift: np.ndarray
    place: np.ndarray
    backwards: np.ndarray | None = None


class Pairs:
    """Directed pairs of one list within its cutoff, in the order of `eqff.data.neighbours.neighbour_pairs`.

    Args:
        kept: Which they are.
        vectors: Of all measured pairs in Å, (M, 3).
        squares: Of their lengths in Å², (M,).

    Attributes:
        sender: (E,) int64.
        receiver: (E,) int64, ascending.
        shift: Lattice translations of the sender, whole numbers, (E, 3).
    """

    def __init__(self, kept: Kept, vectors: np.ndarray, squares: np.ndarray):
        self.sender, self.receiver, self.shift = kept.sender, kept.receiver, kept.shift
        self._kept, self._vectors, self._squares = kept, vectors, squares

    @cached_property
    def vectors(self) -> np.ndarray:
        """From receiver to sender in Å, (E, 3)."""
        vectors, backwards = self._vectors.take(self._kept.place, axis=0), self._kept.backwards
        return vectors if backwards is None else np.where(backwards[:, None], 0.0 - vectors, vectors)

    @cached_property
    def lengths(self) -> np.ndarray:
        """Å, (E,)."""
        return np.sqrt(self._squares.take(self._kept.place))

    def same_as(self, other: Pairs) -> bool:
        """Whether these are known to be the same pairs, wherever their atoms are now."""
        return self._kept is other._kept


class FoundPairs:
    """What a search found, measured in one geometry after the other.

    Args:
        found: All pairs that can be within the cutoff.
        cutoff: Å.
    """

    def __init__(self, found: Found, cutoff: float):
        self._found, self._square = found, cutoff**2
        self._sender, self._receiver = found[:2]  # of the pairs that are measured
        self._translations = found[2].astype(np.float64)
        self._kept: Kept | None = None

    def __call__(self, positions: np.ndarray, cell: np.ndarray | None) -> Pairs:
        """Those within the cutoff.

        Args:
            positions: Å, (N, 3).
            cell: Lattice vectors as rows in Å, (3, 3); None where nothing is periodic.
        """
        vectors = positions.take(self._sender, axis=0) - positions.take(self._receiver, axis=0)
        if cell is not None:
            vectors += self._translations @ cell
        squares = np.vecdot(vectors, vectors)
        inside = squares < self._square
        within, kept = inside.tobytes(), self._kept
        if kept is None or kept.within != within:
            kept = self._kept = self._keep(within, inside)
        return Pairs(kept, vectors, squares)

    def _keep(self, within: bytes, inside: np.ndarray) -> Kept:
        place = inside.nonzero()[0]
        return Kept(within, *(array.take(place, axis=0) for array in self._found), place)


class AllPairs(FoundPairs):
    """All pairs of a structure without periodic directions, of which each is measured once for both directions."""

    def __init__(self, found: Found, cutoff: float):
        super().__init__(found, cutoff)
        sender, receiver, _ = found
        ahead = sender > receiver
        table = np.zeros((int(sender.max(initial=0)) + 1,) * 2, dtype=np.int64)
        table[receiver[ahead], sender[ahead]] = np.arange(np.count_nonzero(ahead))
        self._once = table[np.minimum(sender, receiver), np.maximum(sender, receiver)]
        self._backwards = ~ahead
        self._sender, self._receiver = sender[ahead], receiver[ahead]

    def _keep(self, within: bytes, inside: np.ndarray) -> Kept:
        chosen = inside[self._once].nonzero()[0]
        rows = (array.take(chosen, axis=0) for array in self._found)
        return Kept(within, *rows, self._once[chosen], self._backwards[chosen])
