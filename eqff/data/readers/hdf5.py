"""HDF5 files: one block of arrays, or one in each of many groups."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import h5py

from eqff.data.readers.arrays import count_frames, is_block, records_from_arrays
from eqff.data.readers.pieces import Piece
from eqff.data.records import Record


def read_hdf5(path: Path) -> Iterator[Record]:
    """The frames of every group that holds structures, in the order of the groups' names.

    A dataset's attribute ``units`` is taken as its unit, a group's attributes as values of all its frames, and a
    group's name as ``group``, if it has no other. Datasets are read some rows at a time.

    Raises:
        ValueError: No group holds positions and atomic numbers.
    """
    with h5py.File(path) as file:
        for group in _blocks(file):
            yield from _records(group, 0, None)


def read_rows(path: Path, group: str, start: int, stop: int) -> Iterator[Record]:
    """Some frames of one group."""
    with h5py.File(path) as file:
        yield from _records(file[group], start, stop)


def split_hdf5(path: Path, size: int) -> list[Piece]:
    """Pieces of at most ``size`` frames, each of one group."""
    pieces, first = [], 0
    with h5py.File(path) as file:
        for group in _blocks(file):
            frames = count_frames(_datasets(group))
            for start in range(0, frames, size):
                stop = min(start + size, frames)
                pieces.append(Piece(first + start, partial(read_rows, path, group.name, start, stop)))
            first += frames
    return pieces


def _blocks(file: h5py.File) -> list[h5py.Group]:
    blocks = [group for group in _groups(file) if is_block(group)]
    if not blocks:
        raise ValueError(f"no group of it holds positions and atomic numbers; at the top are {', '.join(file)}")
    return blocks


def _records(group: h5py.Group, start: int, stop: int | None) -> Iterator[Record]:
    datasets = _datasets(group)
    units = {key: _text(value.attrs["units"]) for key, value in datasets.items() if "units" in value.attrs}
    constants = {key: _text(value) for key, value in group.attrs.items()}
    if group.name != "/":
        constants.setdefault("group", group.name.strip("/"))
    return records_from_arrays(datasets, units, constants, start, stop)


def _datasets(group: h5py.Group) -> dict[str, h5py.Dataset]:
    return {key: value for key, value in group.items() if isinstance(value, h5py.Dataset)}


def _groups(group: h5py.Group) -> Iterator[h5py.Group]:
    yield group
    for child in group.values():
        if isinstance(child, h5py.Group):
            yield from _groups(child)


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value
