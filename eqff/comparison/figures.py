"""The figures of a comparison: courses of trainings, error against cost, errors of parts of a test set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from eqff.comparison.comparison import Group
from eqff.comparison.rows import Row
from eqff.comparison.run import Run, State, quantity_of
from eqff.comparison.tables import COST_TITLES, unit_of
from eqff.tracking.plots import COLOURS, grid, styled

_LINES = ("-", "--", ":", "-.")
_MARKERS = ("o", "s", "^", "D")
_MOST_METRICS = 4
_MOST_PARTS = 30
_VARIES = 1.05  # ratio of the largest to the smallest cost from which on it is worth an axis
_FEW_EPOCHS = 3
_FEW_DECADES = 100.0
_COSTS = ("cpu_seconds", "step_milliseconds", "parameters")
_PART_KINDS = ("group", "state", "element")

Course = tuple[str, Callable[[Mapping[str, Any]], Any]]


def learning_curves(group: Group) -> Figure | None:
    """Validation errors over epochs (steps, where epochs are few), CPU time and wall time; a line for each run."""
    names = _validated(group)
    courses = [
        course for course in _courses(group) if names and any(_points(run, names[0], course) for run in group.runs)
    ]
    return _draw_courses(group, names, courses) if courses else None


def _validated(group: Group) -> list[str]:
    """Validation metrics of the quantities that are shown."""
    shown = dict.fromkeys(f"val/{name.partition('/')[2]}" for name in group.metrics)
    known = {name for run in group.runs for row in run.rows for name in row}
    return [name for name in shown if name in known][:_MOST_METRICS]


def _courses(group: Group) -> list[Course]:
    many = max((run.cost.epochs or 0 for run in group.runs), default=0) >= _FEW_EPOCHS
    epochs: Course = ("epochs", lambda row: None if row.get("epoch") is None else row["epoch"] + 1)
    steps: Course = ("steps", lambda row: row.get("step"))
    times = [(COST_TITLES[name], lambda row, n=name: row.get(n)) for name in ("cpu_seconds", "wall_seconds")]
    return [epochs if many else steps, *times]


def _points(run: Run, name: str, course: Course) -> list[tuple[float, float]]:
    """Place and value of every row that has both."""
    place = course[1]
    return [(place(row), row[name]) for row in run.rows if row.get(name) is not None and place(row) is not None]


@styled
def _draw_courses(group: Group, names: Sequence[str], courses: Sequence[Course]) -> Figure:
    figure, axes = grid(len(names) * len(courses), (3.6, 2.7))
    panels = [(name, course) for name in names for course in courses]
    for ax, (name, course) in zip(axes, panels, strict=True):
        for index, row in enumerate(group.rows):
            for run in row.runs:
                points = _points(run, name, course)
                ax.plot(*np.array(points).reshape(-1, 2).T, **_line(index), linewidth=1.0)
        ax.set(xlabel=course[0], **_titles(group.rows, name))
        _logarithmic(ax, "y")
    _legend(figure, group.rows, lambda index: {**_line(index)})
    return figure


@styled
def accuracy_against_cost(group: Group) -> Figure | None:
    """Errors over every cost in which rows differ, with the spreads of both; None if they differ in none."""
    costs = [name for name in _COSTS if _varies(group.rows, name)]
    metrics = [name for name in group.metrics if name.endswith("_mae")][:_MOST_METRICS]
    if not costs or not metrics:
        return None
    figure, axes = grid(len(costs) * len(metrics), (3.6, 2.9))
    for ax, (metric, cost) in zip(axes, [(m, c) for m in metrics for c in costs], strict=True):
        for index, row in enumerate(group.rows):
            error, price = row.metric(metric), row.cost(cost)
            if error is None or price is None or row.state is not State.FINISHED:
                continue
            bars = {"xerr": price.deviation or 0.0, "yerr": error.deviation or 0.0}
            ax.errorbar(price.mean, error.mean, **bars, **_point(index), capsize=2)
        ax.set(xlabel=COST_TITLES[cost], **_titles(group.rows, metric))
        ax.xaxis.set_major_locator(MaxNLocator(4))
        _logarithmic(ax, "y")
    _legend(figure, group.rows, lambda index: {**_point(index), "linestyle": ""})
    return figure


def _titles(rows: Sequence[Row], metric: str) -> dict[str, str]:
    """A panel's title and y label: ``far: forces`` over ``MAE (meV/Å)``."""
    kind, unit = metric.rpartition("_")[2].upper(), unit_of(rows, metric)
    title = f"{metric.partition('/')[0]}: {quantity_of(metric).replace('_', ' ')}"
    return {"title": title, "ylabel": f"{kind} ({unit})" if unit else kind}


def _varies(rows: Sequence[Row], cost: str) -> bool:
    finished = [row for row in rows if row.state is State.FINISHED]
    means = [spread.mean for row in finished if (spread := row.cost(cost)) and spread.mean > 0]
    return len(means) > 1 and max(means) / min(means) >= _VARIES


@styled
def errors_by_part(group: Group, part: str) -> Figure | None:
    """Mean absolute errors of the groups of a test set (states, or elements, where it has no groups), worst on top."""
    metrics = [name for name in group.metrics if name.startswith(f"{part}/") and name.endswith("_mae")]
    kinds = [(name, kind) for name in metrics if (kind := _part_kind(group, part, quantity_of(name)))]
    if not kinds:
        return None
    columns = [_by_part(group, part, kind, quantity_of(name)) for name, kind in kinds]
    height = max(2.2, 0.8 + 0.19 * max(len(members) for members, _ in columns))
    figure, axes = grid(len(kinds[:3]), (4.2, height))
    for ax, (name, kind), (members, values) in zip(axes, kinds, columns, strict=False):
        for index in range(len(group.rows)):
            ax.plot(values[index], range(len(members)), linestyle="", **_point(index), alpha=0.8)
        ax.set(
            yticks=range(len(members)),
            yticklabels=members,
            ylim=(-0.6, len(members) - 0.4),
            xlabel=f"MAE ({unit_of(group.rows, name)})",
        )
        ax.set_title(f"{quantity_of(name).replace('_', ' ')} by {kind}")
        _logarithmic(ax, "x")
    _legend(figure, group.rows, lambda index: {**_point(index), "linestyle": ""})
    return figure


def _part_kind(group: Group, part: str, quantity: str) -> str | None:
    """The first way in which some run has split a quantity's errors into two parts or more."""
    for kind in _PART_KINDS:
        for run in group.runs:
            parts = run.errors_by.get(part, {}).get(kind, {})
            if sum(quantity in errors for errors in parts.values()) > 1:
                return kind
    return None


def _by_part(group: Group, part: str, kind: str, quantity: str) -> tuple[list[str], np.ndarray]:
    """The parts with the largest errors, and the mean over each row's runs, (rows, parts), NaN where there is none."""
    found = [[run.errors_by.get(part, {}).get(kind, {}) for run in row.runs] for row in group.rows]
    names = list(dict.fromkeys(name for runs in found for parts in runs for name in parts))
    values = np.array([[_mean_error(runs, name, quantity) for name in names] for runs in found])
    middle = np.array(
        [np.median(column[np.isfinite(column)]) if np.isfinite(column).any() else -1 for column in values.T]
    )
    order = np.argsort(middle)[-_MOST_PARTS:]
    return [names[index] for index in order], values[:, order]


def _mean_error(runs: Sequence[Mapping[str, Any]], name: str, quantity: str) -> float:
    errors = [parts[name][quantity]["mae"] for parts in runs if quantity in parts.get(name, {})]
    return float(np.mean(errors)) if errors else float("nan")


def _line(index: int) -> dict[str, Any]:
    return {"color": COLOURS[index % len(COLOURS)], "linestyle": _LINES[index // len(COLOURS) % len(_LINES)]}


def _point(index: int) -> dict[str, Any]:
    marker = _MARKERS[index // len(COLOURS) % len(_MARKERS)]
    return {"color": COLOURS[index % len(COLOURS)], "marker": marker, "markersize": 5}


def _logarithmic(ax: Axes, axis: str) -> None:
    """A logarithmic axis where all that is drawn is positive."""
    number = 1 if axis == "y" else 0
    values = np.concatenate([np.asarray(line.get_data()[number], dtype=float) for line in ax.lines] or [np.zeros(0)])
    values = values[np.isfinite(values)]
    if values.size == 0 or values.min() <= 0:
        return
    getattr(ax, f"set_{axis}scale")("log")
    if values.max() / values.min() < _FEW_DECADES:  # powers of ten alone would be one label or none
        drawn = getattr(ax, f"{axis}axis")
        drawn.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        drawn.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        drawn.set_minor_formatter(NullFormatter())


def _legend(figure: Figure, rows: Sequence[Row], style: Callable[[int], dict[str, Any]]) -> None:
    """One legend for all panels, below them."""
    handles = [figure.axes[0].plot([], [], label=row.label, **style(index))[0] for index, row in enumerate(rows)]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(rows), 4))
