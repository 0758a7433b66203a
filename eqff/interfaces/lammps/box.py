"""LAMMPS' box as a cell, and positions that don't jump when LAMMPS wraps atoms around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Box:
    """A box in Å.

    Attributes:
        origin: Its lower corner where it is periodic, 0 elsewhere, (3,). Barostats move the corner too, which moves
            all atoms of a crystal and means nothing.
        cell: Lattice vectors as rows, (3, 3): a along x, b in the plane of x and y.
        pbc: (3,) bool.
    """

    origin: np.ndarray
    cell: np.ndarray
    pbc: np.ndarray


def box_of(
    low: Sequence[float],
    high: Sequence[float],
    xy: float,
    yz: float,
    xz: float,
    periodicity: Sequence[int],
    length: float = 1.0,
) -> Box:
    """From what ``extract_box`` of LAMMPS' Python module returns.

    Args:
        low: Lower corner, (3,).
        high: Upper corner of the box without its tilts, (3,).
        xy: Tilts; note LAMMPS' order.
        yz: The same.
        xz: The same.
        periodicity: (3,), 1 where periodic.
        length: Å in LAMMPS' unit of length.
    """
    pbc = np.array(periodicity, dtype=bool)
    cell = np.diag(np.subtract(high, low))
    cell[1, 0], cell[2, 0], cell[2, 1] = xy, xz, yz
    return Box(np.where(pbc, low, 0.0) * length, cell * length, pbc)


class Unwrapped:
    """Positions along a trajectory, each atom in the image next to where it was before.

    LAMMPS puts atoms that leave a periodic box back into it. What is kept between steps (neighbour lists with a skin,
    where iterations begin) follows them best without such jumps.
    """

    def __init__(self) -> None:
        self._tags: np.ndarray | None = None
        self._fractions = np.zeros((0, 3))

    def __call__(self, tags: np.ndarray, positions: np.ndarray, box: Box) -> np.ndarray:
        """Positions in Å relative to the box' origin, (N, 3).

        Args:
            tags: Whose they are, (N,); other atoms than before begin anew.
            positions: Å, (N, 3).
            box: Of now.
        """
        positions = positions - box.origin
        if not box.pbc.any():
            return positions
        fractions = positions @ np.linalg.inv(box.cell)
        if self._tags is not None and np.array_equal(tags, self._tags):
            jumps = np.where(box.pbc, np.round(fractions - self._fractions), 0.0)
            fractions, positions = fractions - jumps, positions - jumps @ box.cell
        self._tags, self._fractions = tags, fractions
        return positions
