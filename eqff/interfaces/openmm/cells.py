"""Nearest images in OpenMM's boxes, whose vectors are in reduced form."""

from __future__ import annotations

import numpy as np

from eqff.errors import ModelError


def nearest(vectors: np.ndarray, box: np.ndarray | None) -> np.ndarray:
    """The vectors (..., 3) less whole lattice vectors: the shortest ones, if these are shorter than half the box.

    Args:
        vectors: Å.
        box: Lattice vectors as rows in Å, (3, 3), lower triangular; None for none.
    """
    if box is None:
        return vectors
    for axis in (2, 1, 0):
        vectors = vectors - np.round(vectors[..., axis, None] / box[axis, axis]) * box[axis]
    return vectors


def half_width(box: np.ndarray) -> float:
    """Å up to which `nearest` finds the nearest image."""
    return 0.5 * float(np.min(np.diag(box)))


def whole_molecules(positions: np.ndarray, before: np.ndarray, box: np.ndarray | None) -> np.ndarray:
    """The same particles (n, 3) in Å with each molecule as one piece, however long it is: put together bond by bond.

    Args:
        positions: Å, (n, 3).
        before: Of each particle one that is bonded to it, towards the first of its molecule, and for that itself, (n,).
        box: Lattice vectors as rows in Å, (3, 3); None for none.
    """
    if box is None:
        return positions
    bonds = positions - positions[before]
    shifts = np.rint((nearest(bonds, box) - bonds) @ np.linalg.inv(box))
    while (before != before[before]).any():  # sums along the way to the first, of twice as many bonds each time
        shifts, before = shifts + shifts[before], before[before]
    return positions + shifts @ box


def whole(positions: np.ndarray, box: np.ndarray | None) -> np.ndarray:
    """The same atoms (n, 3) in Å as one piece, next to the first of them.

    Raises:
        ModelError: They are spread over so much of the box that images can't be told apart.
    """
    if box is None:
        return positions
    vectors = nearest(positions - positions[0], box)
    extent = float(np.ptp(vectors, axis=0).max())
    if extent > half_width(box):
        raise ModelError(
            f"The atoms that the model describes extend over {extent:.1f} Å, more than half of the box "
            f"({half_width(box):.1f} Å), so it is not clear which images belong together. Take a larger box, or a "
            "smaller region."
        )
    return positions[0] + vectors
