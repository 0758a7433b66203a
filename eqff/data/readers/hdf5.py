"""HDF5 files: one block of arrays, or one in each of many groups."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py

from eqff.data.readers.arrays import is_block, records_from_arrays
from eqff.data.records import Record


def read_hdf5(path: Path) -> Iterator[Record]:
    """The frames of every group that holds structures, in the order of the groups' names.

    A dataset's attribute ``units`` is taken as its unit, a group's attributes as values of all its frames, and a
    group's name as ``group``, if it has no other.

    Raises:
        ValueError: No group holds positions and atomic numbers.
    """
    with h5py.File(path) as file:
        blocks = [group for group in _groups(file) if is_block(group)]
        if not blocks:
            raise ValueError(f"no group of it holds positions and atomic numbers; at the top are {', '.join(file)}")
        for group in blocks:
            datasets = {key: value for key, value in group.items() if isinstance(value, h5py.Dataset)}
            units = {key: _text(value.attrs["units"]) for key, value in datasets.items() if "units" in value.attrs}
            constants = {key: _text(value) for key, value in group.attrs.items()}
            if group.name != "/":
                constants.setdefault("group", group.name.strip("/"))
            yield from records_from_arrays({key: value[()] for key, value in datasets.items()}, units, constants)


def _groups(group: h5py.Group) -> Iterator[h5py.Group]:
    yield group
    for child in group.values():
        if isinstance(child, h5py.Group):
            yield from _groups(child)


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value
