"""What a loop leaves: errors against labels, as table, CSV and figure."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.table import Table

from eqff.checkpoints.atomic import replacing
from eqff.tracking.plots import COLOURS, grid, save_figure, styled

SHOWN = {"energy_per_atom_mae": "energy MAE (meV/atom)", "forces_mae": "forces MAE (meV/Å)"}
"""Metrics that are shown, and their heads."""


@dataclass(frozen=True)
class Course:
    """A loop's rounds.

    Attributes:
        rows: One a round, as of `eqff.active.loop.ActiveLoop.run`.
        files: What was written.
    """

    rows: Sequence[dict[str, Any]]
    files: tuple[Path, ...] = ()

    @property
    def sets(self) -> list[str]:
        """Names of the evaluated sets."""
        names = [key.split("/")[0] for key in self.rows[-1]["metrics"] if key.split("/")[-1] in SHOWN]
        return list(dict.fromkeys(names))

    def errors(self, name: str, metric: str) -> list[float]:
        """Of a set, round by round; not a number where there is none."""
        return [float(row["metrics"].get(f"{name}/{metric}") or "nan") for row in self.rows]

    def table(self) -> Table:
        """For terminals."""
        head, *body = self.lines()
        table = Table(*head)
        for row in body:
            table.add_row(*row)
        return table

    def lines(self) -> list[list[str]]:
        """Heads and rows as text: labels, errors of each set, and how uncertain the model before was of the pool."""
        columns = [(name, metric) for name in self.sets for metric in SHOWN]
        heads = ["round", "labels", *(f"{name}: {SHOWN[metric]}" for name, metric in columns)]
        rows = [[*heads, "pool: mean uncertainty (eV/Å)", "largest"]]
        for row in self.rows:
            errors = [row["metrics"].get(f"{name}/{metric}") for name, metric in columns]
            doubts = row.get("uncertainty_eV_per_A", {})
            numbers = [*errors, doubts.get("pool_mean"), doubts.get("pool_largest")]
            rows.append([str(row["round"]), str(row["labels"]), *(_text(value) for value in numbers)])
        return rows


def write_course(rows: Sequence[dict[str, Any]], folder: Path) -> Course:
    """Writes ``course.csv`` and ``course.png`` into a loop's folder."""
    course = Course(rows)
    path = folder / "course.csv"
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(course.lines())
    return Course(rows, (path, save_figure(course_figure(course), folder / "course.png")))


@styled
def course_figure(course: Course) -> Figure:
    """Errors of each set against labels, both axes logarithmic; what no set has is left out."""
    known = [metric for metric in SHOWN if any(value > 0 for n in course.sets for value in course.errors(n, metric))]
    figure, axes = grid(len(known), (4.0, 3.2))
    labels = [row["labels"] for row in course.rows]
    for ax, metric in zip(axes, known, strict=True):
        for colour, name in zip(COLOURS * (1 + len(course.sets) // len(COLOURS)), course.sets, strict=False):
            ax.plot(labels, course.errors(name, metric), "o-", color=colour, label=name)
        ax.set(xscale="log", yscale="log", xlabel="labels", ylabel=SHOWN[metric])
        ax.legend()
    return figure


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
