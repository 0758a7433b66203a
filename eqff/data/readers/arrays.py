"""Blocks of arrays with one row per frame, as npz and HDF5 files hold them: sGDML, MD17, ANI-1, SPICE and many
others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from ase.data import atomic_numbers

from eqff.data.keys import recognise
from eqff.data.records import Record
from eqff.errors import did_you_mean

POSITIONS = ("positions", "coordinates", "coords", "conformations", "pos", "R")
NUMBERS = ("numbers", "atomic_numbers", "nuclear_charges", "species", "elements", "z", "Z")
SYNONYMS = {"E": "energy", "energies": "energy", "F": "forces", "Q": "total_charge"}
"""Keys for fields that such files use besides the common ones."""


def is_block(arrays: Mapping[str, Any]) -> bool:
    """Whether there are structures among these arrays."""
    return any(name in arrays for name in POSITIONS) and any(name in arrays for name in NUMBERS)


def records_from_arrays(
    arrays: Mapping[str, np.ndarray], units: Mapping[str, str], constants: Mapping[str, Any] | None = None
) -> Iterator[Record]:
    """The frames of a block of arrays.

    Args:
        arrays: Positions (F, N, 3) and numbers (N,) or (F, N), zero where a structure has fewer than N atoms, under
            one of the names in `POSITIONS` and `NUMBERS`; ``cell`` and ``pbc`` as (3, 3) and (3,), or per frame; any
            others as (F, ...) per frame or with a single number for all. A row that is NaN throughout is an absent
            label.
        units: Of the arrays, where the file states them.
        constants: Values of all frames.

    Raises:
        ValueError: There are no positions or numbers, or they don't fit together.
    """
    position_key, number_key = _find(arrays, POSITIONS, "positions"), _find(arrays, NUMBERS, "atomic numbers")
    positions = np.asarray(arrays[position_key])
    positions = positions[None] if positions.ndim == 2 else positions
    frames, size = positions.shape[:2]
    numbers = _atomic_numbers(np.asarray(arrays[number_key]))
    if numbers.shape not in ((size,), (frames, size)) or positions.shape[2:] != (3,):
        raise ValueError(f"'{position_key}' {positions.shape} and '{number_key}' {numbers.shape} don't fit together")
    numbers = np.broadcast_to(numbers, (frames, size))
    cell, pbc = _cells(arrays, frames)
    others = {key: np.asarray(arrays[key]) for key in arrays if key not in (position_key, number_key, "cell", "pbc")}
    stated = dict(units) | ({"positions": units[position_key]} if position_key in units else {})
    for frame in range(frames):
        there = numbers[frame] > 0
        record = Record(numbers[frame][there], positions[frame][there], cell[frame], pbc[frame], dict(constants or {}))
        record.units = stated
        for key, array in others.items():
            _store(record, key, array, frame, frames, there)
        yield record


def _store(record: Record, key: str, array: np.ndarray, frame: int, frames: int, there: np.ndarray) -> None:
    if array.ndim == 0 or array.size == 1:
        record.structure[key] = array.item()
        return
    if len(array) != frames:
        return  # not one row per frame: not about structures
    value = array[frame]
    if value.dtype.kind == "f" and np.isnan(value).all():
        return
    if np.shape(value)[:1] == there.shape and recognise(key, "structure") is None:
        record.atoms[key] = value[there]
    else:
        record.structure[key] = value.decode() if isinstance(value, bytes) else value


def _find(arrays: Mapping[str, Any], names: tuple[str, ...], what: str) -> str:
    for name in names:
        if name in arrays:
            return name
    raise ValueError(f"no {what} in it (any of {', '.join(names)}).{did_you_mean(names[0], arrays)}")


def _atomic_numbers(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind in "iuf":
        return array.astype(np.int64)
    symbols = [item.decode() if isinstance(item, bytes) else str(item) for item in array.ravel()]
    return np.array([atomic_numbers[symbol] for symbol in symbols]).reshape(array.shape)


def _cells(arrays: Mapping[str, Any], frames: int) -> tuple[np.ndarray, np.ndarray]:
    cell = np.asarray(arrays["cell"], dtype=np.float64) if "cell" in arrays else np.zeros((3, 3))
    periodic = "cell" in arrays
    pbc = np.asarray(arrays["pbc"], dtype=bool) if "pbc" in arrays else np.full(3, periodic)
    return np.broadcast_to(cell, (frames, 3, 3)), np.broadcast_to(pbc, (frames, 3))
