"""Energies of many structures shifted onto one level of theory at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from eqff.data.columns import Columns
from eqff.data.levels import missing_offset
from eqff.data.reference_set import per_number
from eqff.errors import DataError


def shift_columns(columns: Columns, level: str, offsets: Mapping[str, Mapping[int, float]]) -> Columns:
    """The same as `eqff.data.levels.shifted` of each structure.

    Args:
        columns: The structures.
        level: The level to shift onto.
        offsets: Other level to Z to eV above ``level``.

    Raises:
        DataError: A structure holds an element that was not there at its level when the offsets were made.
    """
    levels = np.asarray(columns.texts["level_of_theory"], dtype=object)
    moved = np.isin(levels, [name for name in offsets if name != level])
    if not moved.any():
        return columns
    values, numbers = dict(columns.values), columns.values["numbers"]
    for own in set(levels[moved].tolist()):
        here = levels == own
        strange = here & columns.any("numbers", ~np.isin(numbers, list(offsets[own])))
        if strange.any():
            first = int(strange.argmax())
            own_numbers = numbers[columns.starts[first] : columns.ends[first]].tolist()
            raise DataError(missing_offset(columns.place(first), own_numbers, own, level, offsets[own]))
        if "energy" in values:
            above = columns.sums(per_number(offsets[own])[numbers])
            values["energy"] = np.where(here, values["energy"] - above, values["energy"])
    texts = {**columns.texts, "level_of_theory": np.where(moved, level, levels)}
    return replace(columns, values=values, texts=texts)
