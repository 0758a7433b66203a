"""Structures laid end to end: the form in which whole sets are counted, checked, hashed and stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from eqff.data import fields as table
from eqff.data.atomic_data import META, AtomicData
from eqff.data.energy_rows import EnergyRows
from eqff.data.external import CHARGES
from eqff.data.external import NAMES as EXTERNAL_NAMES

INPUTS = table.names("input")
TEXTS = tuple(name for name in META if name != "frame")
"""What frames remember as strings."""


@dataclass(frozen=True)
class Columns:
    """F structures with N atoms in all, a chunk of a set that need not fit into memory.

    Attributes:
        sizes: Atoms of each structure, (F,) int64, all at least 1.
        values: Inputs and labels by field name, (N, ...) per atom, (F, ...) per structure and (M, ...) per external
            charge, dtypes as in `AtomicData`; NaN where a label is unknown.
        texts: ``group``, ``source`` and the like, lists of F strings.
        frame: Place of each in its file, (F,) int64.
        external: External charges of each structure, (F,) int64; None for none.
    """

    sizes: np.ndarray
    values: Mapping[str, np.ndarray]
    texts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    frame: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    external: np.ndarray | None = None

    @classmethod
    def of(cls, frames: Sequence[AtomicData]) -> Columns:
        """Of structures in memory; a label that only some of them have is NaN for the others."""
        stored = [frame.to_dict() for frame in frames]  # once: looking fields up in PyG's objects takes long
        present = set().union(*stored)
        names = [*INPUTS, *(name for name in table.names("label") if name in present)]
        sizes = [frame.num_nodes for frame in frames]
        return cls(
            np.array(sizes, dtype=np.int64),
            {name: np.concatenate(_values(stored, name, sizes)) for name in names},
            {name: [fields.get(name, "") for fields in stored] for name in TEXTS},
            np.array([fields.get("frame", 0) for fields in stored], dtype=np.int64),
            np.array([len(fields.get(CHARGES, ())) for fields in stored], dtype=np.int64),
        )

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the labels."""
        return tuple(name for name in table.names("label") if name in self.values)

    @cached_property
    def ends(self) -> np.ndarray:
        """Where the atoms of each structure end, (F,)."""
        return self.sizes.cumsum()

    @cached_property
    def starts(self) -> np.ndarray:
        """Where the atoms of each structure begin, (F,)."""
        return self.ends - self.sizes

    def known(self, name: str) -> np.ndarray:
        """Which structures have a label, all or some of its numbers, (F,) bool; see `AtomicData.has`."""
        return self.any(name, ~np.isnan(self.values[name]))

    def complete(self, name: str) -> np.ndarray:
        """Which structures have every number of a label, (F,) bool."""
        return ~self.any(name, np.isnan(self.values[name]))

    def rows(self, name: str) -> np.ndarray:
        """How many rows each structure has in a column, (F,)."""
        if is_per_atom(name):
            return self.sizes
        if name not in EXTERNAL_NAMES:
            return np.ones(len(self), dtype=np.int64)
        return np.zeros(len(self), dtype=np.int64) if self.external is None else self.external

    def any(self, name: str, mask: np.ndarray) -> np.ndarray:
        """In which structures a mask of the shape of a field is somewhere true, (F,) bool."""
        rows = mask.reshape(len(mask), -1).any(axis=1)
        if name in EXTERNAL_NAMES:  # of which a structure may have none
            return np.bincount(np.repeat(np.arange(len(self)), self.rows(name)), rows, len(self)) > 0
        return np.logical_or.reduceat(rows, self.starts) if is_per_atom(name) else rows

    def sums(self, per_atom: np.ndarray) -> np.ndarray:
        """Sums over the atoms of each structure, (N, ...) to (F, ...)."""
        return np.add.reduceat(per_atom, self.starts, axis=0)

    def maxima(self, per_atom: np.ndarray) -> np.ndarray:
        """Largest value over the atoms of each structure, (N,) to (F,)."""
        return np.maximum.reduceat(per_atom, self.starts)

    def pieces(self, name: str) -> list[memoryview]:
        """The bytes of a field, structure by structure."""
        array = np.ascontiguousarray(self.values[name])
        row = array.dtype.itemsize * int(np.prod(array.shape[1:], dtype=int))
        data = memoryview(array.reshape(-1).view(np.uint8))
        bounds = [0, *(self.rows(name).cumsum() * row).tolist()]
        return [data[begin:end] for begin, end in zip(bounds[:-1], bounds[1:], strict=True)]

    def stated(self, name: str) -> np.ndarray:
        """Which structures have an optional input that differs from its default, or external charges, (F,) bool."""
        if name in EXTERNAL_NAMES:
            return self.rows(name) > 0
        return self.any(name, self.values[name] != table.field(name).default)

    def place(self, index: int) -> str:
        """Where a structure comes from, for messages; the same as `AtomicData.place`."""
        return f"{self.texts['source'][index] or 'structure'}, frame {self.frame[index]}"

    def energy_rows(self) -> EnergyRows:
        """What reference energies are fitted from."""
        nothing = [""] * len(self)
        energies = self.values.get("energy", np.full(len(self), np.nan))
        return EnergyRows.from_arrays(
            self.values["numbers"],
            self.sizes,
            self.values["total_charge"],
            energies,
            self.texts.get("level_of_theory", nothing),
            self.texts.get("source", nothing),
        )


def is_per_atom(name: str) -> bool:
    """Whether a column has a row for each atom; else it has one for each structure."""
    return name in table.FIELDS and table.FIELDS[name].level == "atom"


def unknown(name: str, atoms: int, structures: int) -> np.ndarray:
    """A field that is nowhere stated, for so many atoms or structures: its default, NaN for labels; no rows of external
    charges."""
    row = table.field(name)
    value = np.nan if row.default is None else row.default
    rows = {"atom": atoms, "structure": structures, "external": 0}[row.level]
    shape = (rows, *(row.shape or ()))
    return np.full(shape, value, dtype=np.int64 if row.integer else np.float64)


def _values(stored: Sequence[Mapping[str, Any]], name: str, sizes: Sequence[int]) -> list[np.ndarray]:
    return [
        fields[name].numpy() if name in fields else unknown(name, size, 1)
        for fields, size in zip(stored, sizes, strict=True)
    ]
