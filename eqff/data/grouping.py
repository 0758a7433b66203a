"""Which structures a split must not tear apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from eqff.data.atomic_data import AtomicData
from eqff.data.columns import Columns
from eqff.data.frame_sequence import as_frames
from eqff.errors import DataError, did_you_mean


def grouping(frames: Sequence[AtomicData], by: str) -> list[str]:
    """The group of each frame.

    Args:
        frames: The structures.
        by: "group", "config_type", or "formula" (composition and nothing else: isomers stay together).

    Raises:
        DataError: A frame has none.
    """
    if by not in _CHOICES:
        raise DataError(f"data.split.by can't be '{by}'.{did_you_mean(by, _CHOICES)}")
    groups: list[str] = []
    for columns in as_frames(frames).chunks():
        found = list(_CHOICES[by](columns))
        if not all(found):
            place = columns.place(found.index(""))
            raise DataError(f"{place}: no {by} to split by. Name the key that has it: 'data.keys={{KEY: {by}}}'.")
        groups += found
    return groups


def _formulas(columns: Columns) -> list[str]:
    parts = np.split(columns.values["numbers"], columns.ends[:-1])
    return [str(np.sort(part).tolist()) for part in parts]


_CHOICES: dict[str, Callable[[Columns], Sequence[str]]] = {
    "group": lambda columns: columns.texts["group"],
    "config_type": lambda columns: columns.texts["config_type"],
    "formula": _formulas,
}
