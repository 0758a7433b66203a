"""Which metrics are shown, and in which order rows stand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fnmatch import fnmatchcase

from eqff.comparison.rows import Row
from eqff.comparison.run import Run, State, quantity_of
from eqff.errors import ConfigError, did_you_mean

MAIN = ("energy_per_atom", "forces", "stress", "virial_per_atom", "dipole", "charges", "spin_charges", "quadrupole")
"""Quantities that come first in tables; others that were tested follow."""

HIDDEN = ("energy",)
"""Shown on demand: energies per atom say the same, and structures of unlike size can be compared by them."""

COSTS = ("cpu_seconds", "wall_seconds", "steps", "epochs", "parameters", "step_milliseconds")


def all_metrics(runs: Sequence[Run]) -> list[str]:
    """Every metric that some run has, set by set in the order of the runs."""
    names = dict.fromkeys(name for run in runs for name in run.metrics)
    sets = dict.fromkeys(name.partition("/")[0] for name in names)
    return [name for part in sets for name in names if name.partition("/")[0] == part]


def choose_metrics(runs: Sequence[Run], wanted: Sequence[str] | None = None) -> list[str]:
    """The metrics to show.

    Args:
        runs: To compare.
        wanted: Full names, patterns (``far/*_rmse``), or names without a set (``forces_mae``), which are taken from all
            sets. By default mean absolute errors on test sets, on the validation set where there is no test set.

    Raises:
        ConfigError: No run has a metric of that name.
    """
    known = all_metrics(runs)
    if wanted:
        return list(dict.fromkeys(name for word in wanted for name in _matches(word, known)))
    tests = [name for name in known if not name.startswith(("val/", "train/"))]
    errors = [name for name in tests or known if name.endswith("_mae")]
    shown = [name for name in errors if quantity_of(name) not in HIDDEN]
    sets = list(dict.fromkeys(name.partition("/")[0] for name in shown))
    return sorted(shown, key=lambda name: (sets.index(name.partition("/")[0]), _rank(name)))


def _rank(metric: str) -> int:
    quantity = quantity_of(metric)
    return MAIN.index(quantity) if quantity in MAIN else len(MAIN)


def _matches(word: str, known: Sequence[str]) -> list[str]:
    pattern = word if "/" in word else f"*/{word}"
    found = [name for name in known if fnmatchcase(name, pattern)]
    if not found:
        names = {*known, *(name.partition("/")[2] for name in known)}
        raise ConfigError(f"No run has a metric '{word}'.{did_you_mean(word, names)}")
    return found


def check_sort_key(runs: Sequence[Run], key: str | None) -> None:
    """Refuses a name by which no run can be sorted.

    Raises:
        ConfigError: There is no such metric or cost.
    """
    known = all_metrics(runs)
    names = (*COSTS, *dict.fromkeys(name.partition("/")[2] for name in known), *known)
    if key is not None and key not in names:
        raise ConfigError(f"Rows can't be sorted by '{key}'.{did_you_mean(key, names)}")


def sort_rows(rows: Sequence[Row], key: str | None, shown: Sequence[str] = ()) -> list[Row]:
    """Rows with ascending values of a metric or cost; those that have none, and unfinished ones, come last.

    Args:
        rows: To sort.
        key: A full name of a metric, one without a set (``forces_mae``: of the first set that is shown), or one of
            `COSTS`; None, or one that none of the rows has, leaves the order of the runs.
        shown: Metrics of tables, in their order.
    """
    if key is None:
        return list(rows)
    known = [*shown, *all_metrics([run for row in rows for run in row.runs])]
    full = next((name for name in known if name.partition("/")[2] == key), key)
    return sorted(rows, key=lambda row: _place(row, full))


def _place(row: Row, key: str) -> tuple[bool, bool, float]:
    spread = row.cost(key) if key in COSTS else row.metric(key)
    unknown = spread is None or math.isnan(spread.mean)  # NaN has no place among numbers
    return (unknown, row.state is not State.FINISHED, 0.0 if unknown else spread.mean)


def best_row(rows: Sequence[Row], metric: str) -> int | None:
    """The row with the lowest mean among finished ones, None where fewer than two can be ranked."""
    means = {
        index: spread.mean
        for index, row in enumerate(rows)
        if row.state is State.FINISHED and (spread := row.metric(metric)) is not None and spread.mean == spread.mean
    }
    return min(means, key=means.__getitem__) if len(means) > 1 else None
