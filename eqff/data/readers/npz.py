"""NumPy archives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from eqff.data.readers.arrays import records_from_arrays
from eqff.data.records import Record


def read_npz(path: Path) -> Iterator[Record]:
    """The frames of an npz file; sGDML's ``e_unit`` and ``r_unit`` are understood. Nothing in it is unpickled."""
    with np.load(path, allow_pickle=False) as archive:
        arrays = {key: archive[key] for key in archive.files}
    energy, length = (str(arrays.pop(key).item()) if key in arrays else None for key in ("e_unit", "r_unit"))
    units = {}
    if energy and length:
        units = {"E": energy, "energies": energy, "R": length, "coords": length}
        units |= {"F": f"{energy}/{length}", "forces": f"{energy}/{length}"}
    yield from records_from_arrays(arrays, units)
