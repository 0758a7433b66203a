"""Blocks of arrays with one row per frame, as npz and HDF5 files hold them: sGDML, MD17, ANI-1, SPICE and many
others."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
from ase.data import atomic_numbers

from eqff.data.keys import recognise
from eqff.data.records import Record
from eqff.errors import did_you_mean

POSITIONS = ("positions", "coordinates", "coords", "conformations", "pos", "R")
NUMBERS = ("numbers", "atomic_numbers", "nuclear_charges", "species", "elements", "z", "Z")
CELLS = ("cell", "cells", "lattice", "lattice_vectors")
SYNONYMS = {"E": "energy", "energies": "energy", "F": "forces", "Q": "total_charge"}
"""Keys for fields that such files use besides the common ones."""
_ROWS = 1024  # of each dataset in memory at a time


def is_block(arrays: Mapping[str, Any]) -> bool:
    """Whether there are structures among these arrays."""
    return any(name in arrays for name in POSITIONS) and any(name in arrays for name in NUMBERS)


def count_frames(arrays: Mapping[str, Any]) -> int:
    """F of a block of arrays."""
    shape = arrays[_find(arrays, POSITIONS, "positions")].shape
    return 1 if len(shape) == 2 else shape[0]


def records_from_arrays(
    arrays: Mapping[str, Any],
    units: Mapping[str, str],
    constants: Mapping[str, Any] | None = None,
    start: int = 0,
    stop: int | None = None,
) -> Iterator[Record]:
    """The frames of a block of arrays.

    Args:
        arrays: Positions (F, N, 3) and numbers (N,) or (F, N), zero where a structure has fewer than N atoms, under
            one of the names in `POSITIONS` and `NUMBERS`; lattice vectors (`CELLS`) and ``pbc`` as (3, 3) and (3,), or
            per frame; any others as (F, ...) per frame or with a single number for all. Positions (N, 3) are one
            structure, to which all arrays belong. A row that is NaN throughout is an absent label. NumPy arrays, or
            datasets of which rows are loaded as they are needed.
        units: Of the arrays, where the file states them.
        constants: Values of all frames.
        start: First frame.
        stop: Frame before which to stop; None for the end.

    Raises:
        ValueError: There are no positions or numbers, or they don't fit together.
    """
    keys = _find(arrays, POSITIONS, "positions"), _find(arrays, NUMBERS, "atomic numbers")
    arrays = _with_frames(arrays, keys)
    shapes = [arrays[key].shape for key in keys]
    frames, size = shapes[0][:2]
    if shapes[1] not in ((size,), (frames, size)) or shapes[0][-1:] != (3,) or len(shapes[0]) > 3:
        raise ValueError(f"'{keys[0]}' {shapes[0]} and '{keys[1]}' {shapes[1]} don't fit together")
    lengths = {"positions": keys[0], "cell": _cell_key(arrays)}
    arrays = _with_cell(arrays, frames)
    single = {key for key in arrays if not _one_row_per_frame(key, arrays[key].shape, keys, frames)}
    always = {key: np.asarray(arrays[key][()]) for key in single}
    stated = dict(units) | {name: units[key] for name, key in lengths.items() if key in units}
    stop = frames if stop is None else min(stop, frames)
    for begin in range(start, stop, _ROWS):
        end = min(begin + _ROWS, stop)
        rows = always | {key: arrays[key][begin:end] for key in arrays if key not in single}
        for record in _block_of_records(rows, keys, single, end - begin, constants or {}):
            record.units = stated
            yield record


def _with_frames(arrays: Mapping[str, Any], structure: tuple[str, str]) -> Mapping[str, Any]:
    """The arrays with a first dimension for frames, where positions (N, 3) say that there is one structure alone."""
    if len(arrays[structure[0]].shape) != 2:
        return arrays
    atoms = arrays[structure[0]].shape[0]
    as_they_are = {structure[1], *CELLS, "pbc"}
    return {
        # one row of what is not per atom is the one of the frame
        key: array if key in as_they_are or array.shape[:1] == (1,) != (atoms,) else np.asarray(array[()])[None]
        for key, array in arrays.items()
    }


def _cell_key(arrays: Mapping[str, Any]) -> str | None:
    return next((name for name in CELLS if name in arrays), None)


def _with_cell(arrays: Mapping[str, Any], frames: int) -> Mapping[str, Any]:
    """The arrays with lattice vectors, if there are some, under "cell"."""
    name = _cell_key(arrays)
    if name is None:
        return arrays
    if arrays[name].shape not in ((3, 3), (frames, 3, 3)):
        raise ValueError(f"'{name}' has shape {arrays[name].shape}; lattice vectors are (3, 3), or ({frames}, 3, 3)")
    return {("cell" if key == name else key): array for key, array in arrays.items()}


def _one_row_per_frame(key: str, shape: tuple[int, ...], structure: tuple[str, str], frames: int) -> bool:
    dimensions = dict(zip(structure, (3, 2), strict=True)) | {"cell": 3, "pbc": 2}
    if key in dimensions:
        return len(shape) == dimensions[key]
    return len(shape) > 0 and int(np.prod(shape)) != 1 and shape[0] == frames


def _block_of_records(
    rows: Mapping[str, np.ndarray],
    structure: tuple[str, str],
    single: Collection[str],
    frames: int,
    constants: Mapping[str, Any],
) -> Iterator[Record]:
    positions = np.asarray(rows[structure[0]]).reshape(frames, -1, 3)
    numbers = np.broadcast_to(_atomic_numbers(np.asarray(rows[structure[1]])), positions.shape[:2])
    cell, pbc = _cells(rows, frames)
    others = {key: np.asarray(rows[key]) for key in rows if key not in (*structure, "cell", "pbc")}
    for frame in range(frames):
        there = numbers[frame] > 0
        record = Record(numbers[frame][there], positions[frame][there], cell[frame], pbc[frame], dict(constants))
        for key, array in others.items():
            if key in single:
                _store_constant(record, key, array)
            else:
                _store(record, key, array[frame], there)
        yield record


def _store_constant(record: Record, key: str, array: np.ndarray) -> None:
    """What is not per frame: one number or atomic values for all, or an array of another length.

    The last is not left out: whoever takes it for a field finds that it has the wrong shape, and says so.
    """
    if recognise(key, "atom") is not None:
        record.atoms[key] = array
    else:
        record.structure[key] = _text(array.item()) if array.size == 1 else array


def _store(record: Record, key: str, value: Any, there: np.ndarray) -> None:
    if np.asarray(value).dtype.kind == "f" and np.isnan(value).all():
        return
    if np.shape(value)[:1] == there.shape and recognise(key, "structure") is None:
        record.atoms[key] = value[there]
    else:
        record.structure[key] = _text(value)


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


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
