"""One set of structures in numbers, counted chunk by chunk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from ase.data import chemical_symbols

from eqff.data import fields as table
from eqff.data.atomic_data import AtomicData
from eqff.data.columns import Columns
from eqff.data.energy_fit import EnergyFit
from eqff.data.energy_rows import WIDTH
from eqff.data.frame_sequence import FrameSequence, as_frames
from eqff.data.report import DatasetReport, LabelSummary, state_name
from eqff.data.statistics import RootMeanSquare

_OUTLIER = 12.0  # robust standard deviations
_FEWEST = (
    20  # values, below which only what is grossly off is called an outlier: a wrong unit, a calculation that failed
)
_GROSS, _FEWEST_AT_ALL = 1000.0, 5
_SHOWN = 5


def make_report(
    name: str, frames: Sequence[AtomicData], *, notes: Sequence[str] = (), unused: Mapping[str, int] | None = None
) -> DatasetReport:
    """Counts what is in a set.

    Args:
        name: Of the split.
        frames: Not empty.
        notes: Lines from the checks.
        unused: Keys that were not read, with counts.
    """
    frames = as_frames(frames)
    counts, ranges = _Counts(), {label: _Range(label) for label in frames.labels}
    every, molecules = EnergyFit(), EnergyFit()
    for columns in frames.chunks():
        counts.add(columns)
        for summary in ranges.values():
            summary.add(columns)
        rows = columns.energy_rows()
        every.add(rows)
        molecules.add(rows.where(rows.sizes > 1))
    energies = unexplained_energies(every, frames)
    shortest, sizes = frames.shortest(), frames.sizes("atoms")
    finite = shortest[np.isfinite(shortest)]
    present = np.flatnonzero(counts.elements)
    return DatasetReport(
        name=name,
        frames=len(frames),
        atoms=(int(sizes.min()), int(sizes.max())),
        elements={chemical_symbols[z]: int(counts.elements[z]) for z in present},
        states={state_name(*state): count for state, count in sorted(counts.states.items())},
        periodicity={str(k): n for k, n in sorted(counts.periodicity.items())},
        groups=len(counts.groups),
        labels=tuple(summary.result(energies) for summary in ranges.values()),
        shortest=float(finite.min()) if len(finite) else None,
        outliers=tuple(_outliers(frames, sizes, unexplained_energies(molecules, frames))),
        notes=tuple(notes),
        unused=dict(sorted((unused or {}).items())),
    )


class _Counts:
    """Elements, states, periodic directions and groups."""

    def __init__(self):
        self.elements = np.zeros(WIDTH, dtype=np.int64)
        self.states: Counter[tuple[int, int]] = Counter()
        self.periodicity: Counter[int] = Counter()
        self.groups: set[str] = set()

    def add(self, columns: Columns) -> None:
        values = columns.values
        self.elements += np.bincount(values["numbers"], minlength=WIDTH)
        charges, spins = (values[name].astype(int).tolist() for name in ("total_charge", "multiplicity"))
        self.states.update(zip(charges, spins, strict=True))
        self.periodicity.update(values["pbc"].sum(axis=1).tolist())
        self.groups.update(columns.texts["group"])


class _Range:
    """Where a label is known, and its smallest, largest and mean-square value."""

    def __init__(self, name: str):
        self.name = name
        self.frames = 0
        self.minimum, self.maximum = np.inf, -np.inf
        self.square = RootMeanSquare()

    def add(self, columns: Columns) -> None:
        values = columns.values[self.name]
        values = values / columns.sizes if self.name == "energy" else values
        known = values[~np.isnan(values)]
        self.frames += int(columns.known(self.name).sum())
        if known.size:
            self.minimum, self.maximum = min(self.minimum, known.min()), max(self.maximum, known.max())
            self.square.add(known.ravel())

    def result(self, energies: np.ndarray) -> LabelSummary:
        unit, rms = table.field(self.name).unit, self.square.value
        if not self.frames:
            return LabelSummary(self.name, 0, np.nan, np.nan, np.nan, unit)
        if self.name == "energy":
            unit, rms = "eV/atom*", float(np.sqrt(np.nanmean(energies**2)))
        return LabelSummary(self.name, self.frames, float(self.minimum), float(self.maximum), rms, unit)


def unexplained_energies(fit: EnergyFit, frames: FrameSequence) -> np.ndarray:
    """What is left of the energies per atom after a least-squares fit of composition and total charge.

    Args:
        fit: Of these structures or some of them.
        frames: The structures.

    Returns:
        eV, (F,); NaN where there is no energy.
    """
    found = fit.least_squares("offsets", by_level=False).values if fit.levels else {}
    elements, offsets = np.zeros(WIDTH), {key[1]: value for key, value in found.items() if key[0] == "offset"}
    for key, value in found.items():
        if key[0] == "element":
            elements[key[2]] = value
    left = []
    for columns in frames.chunks():
        rows = columns.energy_rows()
        shift = np.array([offsets.get(charge, 0.0) for charge in rows.charges.tolist()])
        left.append((rows.energies - rows.counts @ elements - shift) / rows.sizes)
    return np.concatenate(left)


def _outliers(frames: FrameSequence, sizes: np.ndarray, energies: np.ndarray) -> list[str]:
    """Frames far from the median of their kind, in units of a robust standard deviation; single atoms don't count."""
    lines = []
    forces = _largest_forces(frames)
    for what, unit, every in (("energy beyond composition", "eV/atom", energies), ("largest force", "eV/Å", forces)):
        indices = np.flatnonzero(~np.isnan(every) & (sizes > 1))
        values = every[indices]
        if len(values) < _FEWEST_AT_ALL:
            continue
        deviation = np.abs(values - np.median(values))
        spread = max(1.4826 * float(np.median(deviation)), 1e-3)
        far = np.flatnonzero(deviation > (_OUTLIER if len(values) >= _FEWEST else _GROSS) * spread)
        for index in far[np.argsort(-deviation[far])][:_SHOWN]:
            lines.append(
                f"{what} {values[index]:.4g} {unit}, {deviation[index] / spread:.0f} spreads from the median "
                f"{np.median(values):.4g}: {frames[int(indices[index])].place}"
            )
        if len(far) > _SHOWN:
            lines.append(f"... and {len(far) - _SHOWN} more frames by their {what}")
    return lines


def _largest_forces(frames: FrameSequence) -> np.ndarray:
    """eV/Å, (F,); NaN where forces are unknown."""
    if "forces" not in frames.labels:
        return np.full(len(frames), np.nan)
    return np.concatenate(
        [columns.maxima(np.linalg.norm(columns.values["forces"], axis=1)) for columns in frames.chunks()]
    )


def count_common(frames: FrameSequence, others: FrameSequence) -> int:
    """How many structures are among others too, whatever their labels."""
    return int(np.isin(frames.fingerprints(), others.fingerprints()).sum()) if len(frames) and len(others) else 0
