"""What makes a set of structures unusable, and what is only worth a line in the report; counted chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from eqff.data.atomic_data import AtomicData
from eqff.data.columns import Columns
from eqff.data.external import CHARGES
from eqff.data.frame_sequence import as_frames
from eqff.errors import DataError

CHARGE_TOLERANCE = 0.02
"""e; what files of three digits for each of some ten atoms leave."""

_LISTED = 5  # structures whose sums are furthest off


def check_set(
    frames: Sequence[AtomicData], charge_tolerance: float = CHARGE_TOLERANCE, *, refuse_zeros: bool = True
) -> list[str]:
    """Checks structures that were read together.

    Args:
        frames: With labels filled up by `fill_missing_labels`.
        charge_tolerance: e; how far charges may miss the total charge, and spin charges the unpaired electrons.
        refuse_zeros: Whether a label that is zero throughout is an error, and not only told: in a test set of crystals
            at their sites it is right.

    Returns:
        Lines on what is odd but possible.

    Raises:
        DataError: A label is zero throughout, and that is refused.
    """
    zeros: dict[str, _Zeros] = {}
    sums = {name: _Sums(name, about, about.limit or charge_tolerance) for name, about in _SUMS.items()}
    for columns in as_frames(frames).chunks():
        for name in columns.labels:
            zeros.setdefault(name, _Zeros(name, refuse_zeros)).add(columns)
            if name in sums:
                sums[name].add(columns)
    return [note for part in (*zeros.values(), *sums.values()) for note in part.notes()]


def check_required(frames: Sequence[AtomicData], require: Sequence[str], unread: Iterable[str] = ()) -> None:
    """Raises DataError if a label that is needed is on none of the frames; ``unread`` are the keys not read so far."""
    present: set[str] = set()
    files: set[str] = set()
    for columns in as_frames(frames).chunks():
        if present.issuperset(require):
            return
        present |= {name for name in columns.labels if columns.known(name).any()}
        files |= set(columns.texts["source"])
    for name in require:
        if name not in present:
            rest = ",".join(other for other in require if other != name)
            raise DataError(
                f"None of the {len(frames)} frames of {', '.join(sorted(files))} has '{name}'. Labels found: "
                f"{_listed(present)}; keys not read: {_listed(unread)}. If it is under one of these, name it: "
                f"'data.keys={{KEY: {name}}}'; to train without it: 'data.require=[{rest}]' training.losses.{name}=null"
            )


def check_elements(name: str, frames: Sequence[AtomicData], known: Collection[int]) -> None:
    """Raises DataError if a structure of the set ``name`` has an element that is not known from training."""
    for columns in as_frames(frames).chunks():
        numbers = columns.values["numbers"]
        foreign = columns.any("numbers", ~np.isin(numbers, list(known)))
        if foreign.any():
            first = int(foreign.argmax())
            own = numbers[columns.starts[first] : columns.ends[first]]
            extra = sorted(set(own.tolist()) - set(known))
            raise DataError(
                f"{name}: {columns.place(first)} has element(s) Z={extra} that no training frame has, so the model "
                "can't know them. Leave such frames out, or put some into the training set."
            )


def _listed(words: Iterable[str]) -> str:
    return ", ".join(sorted(words)) or "none"


def _one_atom(columns: Columns) -> np.ndarray:
    return columns.sizes == 1


def _closed_shell(columns: Columns) -> np.ndarray:
    return columns.values["multiplicity"] == 1.0


def _never(columns: Columns) -> np.ndarray:
    return np.zeros(len(columns), dtype=bool)


def _whole_force(columns: Columns) -> np.ndarray:
    """On a structure in eV/Å, (F, 3): what a uniform field does to an ion; NaN, so unknown, among external charges."""
    force = columns.values["total_charge"][:, None] * columns.values["electric_field"]
    return np.where(columns.stated(CHARGES)[:, None], np.nan, force)


_ZERO_IS_RIGHT: dict[str, Callable[[Columns], np.ndarray]] = {
    "forces": _one_atom,
    "dipole": _one_atom,
    "quadrupole": _one_atom,
    "charges": _one_atom,
    "spin_charges": _closed_shell,
}


@dataclass
class _Zeros:
    """Structures of which a label is exactly zero, which may be a placeholder."""

    name: str
    refused: bool
    known: int = 0
    zero: int = 0
    suspicious: int = 0
    first: str = ""
    source: str = ""

    def add(self, columns: Columns) -> None:
        known = columns.known(self.name)
        if not known.any():
            return
        self.source = self.source or columns.texts["source"][int(known.argmax())]
        zero = known & ~columns.any(self.name, columns.values[self.name] != 0.0)
        suspicious = zero & ~_ZERO_IS_RIGHT.get(self.name, _never)(columns)
        if suspicious.any():
            self.first = self.first or columns.place(int(suspicious.argmax()))
        self.known += int(known.sum())
        self.zero += int(zero.sum())
        self.suspicious += int(suspicious.sum())

    def notes(self) -> list[str]:
        everywhere = self.suspicious and self.zero == self.known
        if everywhere and self.refused:
            raise DataError(
                f"'{self.name}' is exactly zero in all {self.known} frames of {self.source} that have it: a "
                f"placeholder, not a label. Name the key that has the values ('data.keys={{KEY: {self.name}}}'), or "
                "leave this one out ('data.keys={KEY: null}')."
            )
        if everywhere or (self.suspicious and self.name == "forces"):
            return [f"{self.name}: exactly zero in {self.suspicious} frames, the first is {self.first}"]
        return []


@dataclass(frozen=True)
class _Sum:
    """What the sum of a label over atoms should be, NaN where nobody knows; no limit of its own: that of charges."""

    text: str
    unit: str
    expected: Callable[[Columns], np.ndarray | float] = field(default=lambda columns: 0.0)
    limit: float | None = None


_SUMS = {
    "charges": _Sum("charges don't sum to the total charge", "e", lambda c: c.values["total_charge"]),
    "spin_charges": _Sum(
        "spin charges don't sum to the number of unpaired electrons", "", lambda c: c.values["multiplicity"] - 1
    ),
    "forces": _Sum("forces don't sum to zero", "eV/Å", _whole_force, limit=0.05),
}


@dataclass
class _Sums:
    """Structures of which the sum of a label is not what it should be."""

    name: str
    about: _Sum
    limit: float
    count: int = 0
    worst: list[tuple[float, str]] = field(default_factory=list)

    def add(self, columns: Columns) -> None:
        sums = columns.sums(columns.values[self.name])
        errors = np.abs(sums - self.about.expected(columns)).reshape(len(columns), -1).max(axis=1)
        errors = np.where(columns.complete(self.name), errors, 0.0)
        wrong = np.flatnonzero(errors > self.limit)
        self.count += len(wrong)
        first = wrong[np.argsort(-errors[wrong], kind="stable")[:_LISTED]]
        found = [(float(errors[index]), columns.place(index)) for index in first]
        self.worst = sorted(self.worst + found, key=lambda entry: -entry[0])[:_LISTED]

    def notes(self) -> list[str]:
        if not self.count:
            return []
        unit = f" {self.about.unit}" if self.about.unit else ""
        each = "; ".join(f"{error:.3g}{unit} ({place})" for error, place in self.worst)
        more = ", ..." if self.count > len(self.worst) else ""
        return [f"{self.about.text} in {self.count} frames, by up to {each}{more}; told from {self.limit:g}{unit} on"]
