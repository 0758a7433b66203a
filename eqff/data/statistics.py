"""Numbers that a model takes from its training set, and the fingerprint of that set; counted chunk by chunk."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eqff.data import fields as table
from eqff.data.atomic_data import AtomicData
from eqff.data.columns import Columns
from eqff.data.frame_sequence import as_frames
from eqff.data.reference_set import ReferenceSet
from eqff.data.set_hash import with_sizes


@dataclass
class DataStatistics:
    """What a model takes from its training set besides reference energies.

    Attributes:
        elements: Atomic numbers, ascending.
        energy_scale: eV; root mean square of the force components (per Å), or of energies per atom where there are
            none.
        mean_neighbours: Mean length of the local neighbour list; None before lists were built.
    """

    elements: tuple[int, ...]
    energy_scale: float
    mean_neighbours: float | None = None


class RootMeanSquare:
    """Of numbers that come in chunks, in float64; NaN is left out."""

    def __init__(self):
        self.count = 0
        self.total = 0.0

    def add(self, values: np.ndarray) -> None:
        """Takes a chunk."""
        values = values[~np.isnan(values)]
        self.count += len(values)
        self.total += float(values @ values)

    @property
    def value(self) -> float:
        """Zero if there was no number."""
        return math.sqrt(self.total / self.count) if self.count else 0.0


def compute_statistics(frames: Sequence[AtomicData], reference: ReferenceSet) -> DataStatistics:
    """The statistics of a training set, given its reference energies."""
    numbers: set[int] = set()
    forces, energies = RootMeanSquare(), RootMeanSquare()
    for columns in as_frames(frames).chunks():
        numbers.update(np.unique(columns.values["numbers"]).tolist())
        if "forces" in columns.values:
            forces.add(columns.values["forces"].ravel())
        if not forces.count:
            energies.add(reference.above(columns.energy_rows()))
    scale = forces.value if forces.count else energies.value
    return DataStatistics(tuple(sorted(numbers)), scale if scale > 1e-8 else 1.0)


def mean_neighbours(frames: Sequence[AtomicData]) -> float:
    """Mean number of neighbours of an atom in the local lists."""
    found = as_frames(frames)
    return int(found.sizes("local").sum()) / int(found.sizes("atoms").sum())


def content_hash(*sets: Sequence[AtomicData]) -> str:
    """SHA-256 over structures and labels in their order, set by set; file names, groups and neighbour lists don't
    enter."""
    return with_sizes(hash_in_a_row(*sets), map(len, sets))


def hash_in_a_row(*sets: Sequence[AtomicData]) -> str:
    """The same without where one set ends and the next begins, as it stands in run folders of before format 2."""
    digest = hashlib.sha256()
    for frames in sets:
        for columns in as_frames(frames).chunks():
            _hash_chunk(digest, columns)
    return digest.hexdigest()


def _hash_chunk(digest: hashlib._Hash, columns: Columns) -> None:
    optional = table.optional_inputs()
    always = [name for name in table.names("input") if name not in optional]
    labels = sorted(columns.labels)
    known = [np.ones(len(columns), dtype=bool)] * len(always)
    # what has its default is left out, so that sets of before there was such an input keep their hash
    known += [columns.stated(name) for name in optional] + [columns.known(name) for name in labels]
    names, known = [*always, *optional, *labels], [mask.tolist() for mask in known]
    fields = list(zip([name.encode() for name in names], known, map(columns.pieces, names), strict=True))
    for index in range(len(columns)):
        for name, present, pieces in fields:
            if present[index]:
                digest.update(name)
                digest.update(pieces[index])
