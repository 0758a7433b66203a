"""What a comparison shows, as tables that every format writes in its own way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eqff.comparison.choosing import COSTS, best_row
from eqff.comparison.comparability import Difference
from eqff.comparison.numbers import spread_text, whole
from eqff.comparison.rows import Row, Spread
from eqff.comparison.run import quantity_of
from eqff.comparison.settings import ABSENT, differing

SETTINGS = "Settings that differ"
COST_TITLES = {
    "cpu_seconds": "CPU time (s)",
    "wall_seconds": "wall time (s)",
    "steps": "steps",
    "epochs": "epochs",
    "parameters": "parameters",
    "step_milliseconds": "CPU time per step (ms)",
}


@dataclass(frozen=True)
class Cell:
    """One place in a table.

    Attributes:
        text: For people.
        value: To sort by; None sorts by the text.
        best: Whether it is the best of its column.
    """

    text: str
    value: float | None = None
    best: bool = False


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        title: What it shows.
        columns: Heads; the first column names rows.
        rows: Of as many cells as there are columns.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def make_tables(rows: Sequence[Row], metrics: Sequence[str], found: Sequence[Difference]) -> list[Table]:
    """Errors (a table for each set), cost, and settings that differ.

    Args:
        rows: Of the tables.
        metrics: To show, by full name.
        found: What differs among the runs; metrics that it forbids to rank have no best.
    """
    sets = dict.fromkeys(name.partition("/")[0] for name in metrics)
    by_set = [[name for name in metrics if name.partition("/")[0] == part] for part in sets]
    errors = [_error_table(part, rows, names, found) for part, names in zip(sets, by_set, strict=True)]
    settings = _settings_table(rows)
    return [*errors, _cost_table(rows), *([settings] if settings else [])]


def ranked(metric: str, found: Sequence[Difference]) -> bool:
    """Whether the runs' values of a metric can be ranked: they are over the same labels, in the same unit."""
    return not any(metric.startswith(beginning) for difference in found for beginning in difference.metrics)


def unit_of(rows: Sequence[Row], metric: str) -> str:
    """The unit of a metric; several joined if runs disagree, empty where none is known."""
    units = dict.fromkeys(run.units[metric] for row in rows for run in row.runs if metric in run.units)
    return " or ".join(units)


def heading(rows: Sequence[Row], metric: str) -> str:
    """The head of a metric's column."""
    unit, (stem, kind) = unit_of(rows, metric), (quantity_of(metric), metric.rpartition("_")[2])
    title = stem.replace("_", " ") + (f" {kind.upper()}" if kind in ("mae", "rmse") else f" {kind}" * (kind == "max"))
    return f"{title} ({unit})" if unit else title


def _settings_table(rows: Sequence[Row]) -> Table | None:
    columns = differing([row.runs[0].config for row in rows])
    if not columns:
        return None
    lines = [(Cell(row.label), *(Cell(column[index]) for column in columns.values())) for index, row in enumerate(rows)]
    return Table(SETTINGS, ("run", *columns), tuple(lines))


def _error_table(part: str, rows: Sequence[Row], metrics: Sequence[str], found: Sequence[Difference]) -> Table:
    best = {name: best_row(rows, name) if ranked(name, found) else None for name in metrics}
    lines = []
    for index, row in enumerate(rows):
        cells = [_cell(row.metric(name), len(row.runs), best[name] == index) for name in metrics]
        lines.append((Cell(row.label), _count(row), *cells))
    title = "Validation set" if part == "val" else f"Test set {part}"
    return Table(title, ("run", "n", *(heading(rows, name) for name in metrics)), tuple(lines))


def _cost_table(rows: Sequence[Row]) -> Table:
    names = [name for name in COSTS if any(row.cost(name) for row in rows)]
    lines = [(Cell(row.label), _count(row), *(_cost_cell(row, name) for name in names)) for row in rows]
    return Table("Cost", ("run", "n", *(COST_TITLES[name] for name in names)), tuple(lines))


def _cell(spread: Spread | None, expected: int, best: bool) -> Cell:
    return Cell(spread_text(spread, expected), spread.mean, best) if spread else Cell(ABSENT)


def _cost_cell(row: Row, name: str) -> Cell:
    spread = row.cost(name)
    if spread is None:
        return Cell(ABSENT)
    exact = name in ("steps", "epochs", "parameters")
    return Cell(whole(spread.mean) if exact else spread_text(spread, len(row.runs)), spread.mean)


def _count(row: Row) -> Cell:
    return Cell(str(len(row.runs)), len(row.runs))


def missing(rows: Sequence[Row], metrics: Sequence[str]) -> list[str]:
    """Which metrics which rows have none of, or only some runs of a row have."""
    absent: dict[str, list[str]] = {}
    for name in metrics:
        lacking = [run.short_source for row in rows for run in row.runs if name not in run.metrics]
        if lacking:
            absent.setdefault(", ".join(lacking), []).append(name)
    return [f"Missing in {runs}: {', '.join(names)}." for runs, names in absent.items()]
