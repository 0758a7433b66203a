"""What is in a data set, as it is kept and shown; `eqff.data.summary` counts it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from rich import box
from rich.table import Table

_SPINS = {1: "singlet", 2: "doublet", 3: "triplet", 4: "quartet", 5: "quintet"}
_ENERGY_FOOTNOTE = "* RMS of what composition and total charge do not explain"


@dataclass(frozen=True)
class LabelSummary:
    """One label: on how many frames it is known, and its range.

    Attributes:
        name: Field.
        frames: How many frames have it.
        minimum: Smallest component; for energies per atom.
        maximum: Largest component.
        rms: Root mean square of the components; for energies, of what composition and total charge do not explain.
        unit: Of these numbers.
    """

    name: str
    frames: int
    minimum: float
    maximum: float
    rms: float
    unit: str


@dataclass(frozen=True)
class DatasetReport:
    """One set of structures in numbers.

    Attributes:
        name: Of the split.
        frames: How many.
        atoms: Smallest and largest number in a structure.
        elements: How many atoms of each, by symbol.
        states: How many frames of each charge and multiplicity, by "+1 doublet".
        periodicity: How many frames are periodic in 0, 1, 2, 3 directions.
        groups: How many groups there are.
        labels: What is known.
        shortest: Å, the shortest distance found (of periodic and large structures only those below 1 Å count).
        outliers: Lines on frames that lie far from the others.
        notes: Lines on what is odd.
        unused: Keys of the files that were not read, with how many frames have them.
    """

    name: str
    frames: int
    atoms: tuple[int, int]
    elements: dict[str, int]
    states: dict[str, int]
    periodicity: dict[str, int]
    groups: int
    labels: tuple[LabelSummary, ...]
    shortest: float | None
    outliers: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    unused: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings, for JSON."""
        return asdict(self)

    def table(self) -> Table:
        """For the terminal."""
        out = Table(title=f"Data: {self.name}", show_header=False, title_justify="left")
        out.add_row("frames", f"{self.frames} with {_span(self.atoms)} atoms, {self.groups} group(s)")
        out.add_row("elements", ", ".join(f"{symbol} {count}" for symbol, count in self.elements.items()))
        out.add_row("charge, multiplicity", "; ".join(f"{state}: {count}" for state, count in self.states.items()))
        out.add_row("periodic directions", ", ".join(f"{key}: {count}" for key, count in self.periodicity.items()))
        if self.shortest is not None:
            out.add_row("shortest distance", f"{self.shortest:.3f} Å")
        for label in self.labels:
            text = f"on {label.frames}, {label.minimum:.5g} to {label.maximum:.5g}, RMS {label.rms:.4g} {label.unit}"
            out.add_row(label.name, text)
        if any(label.name == "energy" for label in self.labels):
            out.caption, out.caption_justify = _ENERGY_FOOTNOTE, "left"
        for title, lines in (("outlier", self.outliers), ("mind", self.notes)):
            for line in lines:
                out.add_row(title, line)
        if self.unused:
            out.add_row("keys not read", ", ".join(f"{key} ({count})" for key, count in self.unused.items()))
        return out


def overview(reports: Mapping[str, DatasetReport]) -> list[Table | str]:
    """All sets of a run side by side: a table of structures, a table of labels, and lines on what is odd."""
    structures, labels = Table(box=box.SIMPLE_HEAD), Table(box=box.SIMPLE_HEAD)
    for heading in ("set", "frames", "atoms", "groups", "elements", "charge and spin", "shortest (Å)"):
        structures.add_column(heading, no_wrap=heading == "charge and spin", overflow="fold")
    for heading in ("RMS (frames, if not all)", "unit", *reports):
        labels.add_column(heading, overflow="fold")
    for name, report in reports.items():
        structures.add_row(
            name,
            str(report.frames),
            _span(report.atoms),
            str(report.groups),
            " ".join(report.elements),
            "\n".join(f"{state}: {count}" for state, count in report.states.items()),
            "" if report.shortest is None else f"{report.shortest:.3f}",
        )
    units = {label.name: label.unit for report in reports.values() for label in report.labels}
    for label, unit in units.items():
        found = [next((row for row in report.labels if row.name == label), None) for report in reports.values()]
        labels.add_row(label, unit, *map(_cell, found, reports.values()))
    lines = [f"{name}: {line}" for name, report in reports.items() for line in (*report.outliers, *report.notes)]
    unused = sorted({key for report in reports.values() for key in report.unused})
    labels.caption, labels.caption_justify = _ENERGY_FOOTNOTE if "energy" in units else None, "left"
    return [structures, labels, *lines, *([f"Keys not read: {', '.join(unused)}"] if unused else [])]


def state_name(charge: int, multiplicity: int) -> str:
    """A charge and spin state as people say it: "+1 doublet"."""
    return f"{charge:+d} {_SPINS.get(multiplicity, f'2S+1 = {multiplicity}')}".replace("+0", "0")


def _cell(label: LabelSummary | None, report: DatasetReport) -> str:
    if label is None or label.frames == 0:
        return "-"
    return f"{label.rms:.3g}" + (f" ({label.frames})" if label.frames < report.frames else "")


def _span(sizes: tuple[int, int]) -> str:
    low, high = sizes
    return f"{low}" if low == high else f"{low} to {high}"
