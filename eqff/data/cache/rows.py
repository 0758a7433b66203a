"""Rows of ragged arrays: which ones belong to some structures, and their copies."""

from __future__ import annotations

import numpy as np

Rows = slice | np.ndarray
"""Of an array's first axis: a slice where they follow each other, else their indices."""


def rows_of(ends: np.ndarray, index: np.ndarray) -> tuple[Rows, np.ndarray]:
    """The rows of structures ``index`` (F,) in a ragged array, one structure after the other, and how many each has.

    Args:
        ends: Structure i has rows ``ends[i]`` to ``ends[i + 1]``.
        index: Structures, in any order.
    """
    starts, stops = ends[index], ends[index + 1]
    sizes = stops - starts
    if len(index) and follow(index):
        return slice(int(starts[0]), int(stops[-1])), sizes
    before = sizes.cumsum() - sizes
    return np.repeat(starts - before, sizes) + np.arange(int(sizes.sum())), sizes


def structure_rows(index: np.ndarray) -> Rows:
    """The rows of structures ``index`` (F,) in an array with one row for each."""
    return slice(int(index[0]), int(index[-1]) + 1) if len(index) and follow(index) else index


def follow(index: np.ndarray) -> bool:
    """Whether indices count up one by one."""
    return bool(index[-1] - index[0] == len(index) - 1 and (np.diff(index) == 1).all())


def take(array: np.ndarray, rows: Rows) -> np.ndarray:
    """A copy of these rows in memory."""
    return array[rows].copy() if isinstance(rows, slice) else np.take(array, rows, axis=0)
