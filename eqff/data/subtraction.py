"""Labels of a base that were computed elsewhere subtracted from those of structures, and the file of what is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eqff.data.atomic_data import AtomicData
from eqff.data.differences import FIELDS, difference
from eqff.data.external import NAMES
from eqff.errors import DataError

_SAME = 1e-4  # Å; positions in files of two programs that are the same


@dataclass(frozen=True)
class Subtracted:
    """Structures and what was subtracted from their labels.

    Attributes:
        frames: Structures with differences as labels.
        base: Labels of the base for each of them.
        name: Of the base.
        failed: Why structures were left out, with their places.
    """

    frames: list[AtomicData]
    base: list[Mapping[str, np.ndarray]]
    name: str
    failed: tuple[str, ...] = ()


def subtract_labels(frames: Sequence[AtomicData], base: Sequence[AtomicData], method: str) -> Subtracted:
    """Differences to labels of the base that were computed elsewhere.

    Args:
        frames: With whole labels.
        base: The same structures in the same order, with labels of the base.
        method: Name of the base.

    Raises:
        DataError: They are not the same structures, or the base lacks a label.
    """
    if len(frames) != len(base):
        raise DataError(f"There are {len(frames)} structures to subtract from, but {len(base)} of the base.")
    made, labels = [], []
    for frame, other in zip(frames, base, strict=True):
        _require_same(frame, other)
        lacking = [name for name in FIELDS if frame.has(name) and not other.has(name)]
        if lacking:
            raise DataError(f"{other.place}: the base has no {', '.join(lacking)}, which {frame.place} has.")
        known = {name: other[name].numpy() for name in FIELDS if other.has(name)}
        made.append(difference(frame, known, method))
        labels.append(known)
    return Subtracted(made, labels, method)


def _require_same(frame: AtomicData, other: AtomicData) -> None:
    """Raises DataError unless two structures have the same atoms at the same places, in the same state and field."""
    same = frame.num_nodes == other.num_nodes and bool((frame.numbers == other.numbers).all())
    same = same and float((frame.positions - other.positions).abs().max()) < _SAME
    same = same and all(float(frame[name]) == float(other[name]) for name in ("total_charge", "multiplicity"))
    same = same and bool((frame.pbc == other.pbc).all()) and float((frame.cell - other.cell).abs().max()) < _SAME
    same = same and all(_same_around(frame, other, name) for name in ("electric_field", *NAMES))
    if not same:
        raise DataError(
            f"{frame.place} and {other.place} are not the same structure: elements, charge, multiplicity, "
            f"electric field and external charges must agree, positions and cell to {_SAME:g} Å."
        )


def _same_around(frame: AtomicData, other: AtomicData, name: str) -> bool:
    if name not in frame or name not in other:
        return (name in frame) == (name in other)
    return frame[name].shape == other[name].shape and bool(((frame[name] - other[name]).abs() < _SAME).all())


def write_differences(path: Path, found: Subtracted) -> None:
    """Structures with differences as their labels; the base's energy and forces as ``base_energy`` and ``base_forces``.

    Args:
        path: .extxyz or .extxyz.gz.
        found: What to write.
    """
    from ase.io import write

    from eqff.checkpoints.atomic import replacing
    from eqff.data.atoms import to_atoms

    images = []
    for frame, base in zip(found.frames, found.base, strict=True):
        atoms = to_atoms(frame)
        if "energy" in base:
            atoms.info["base_energy"] = base["energy"].item()
        if "forces" in base:
            atoms.arrays["base_forces"] = np.asarray(base["forces"])
        images.append(atoms)
    with replacing(path) as temporary:
        write(temporary, images, format="extxyz")
