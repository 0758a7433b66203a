"""Runs side by side: the one object behind the command and behind scripts of experiments."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from eqff.comparison.choosing import check_sort_key, choose_metrics, sort_rows
from eqff.comparison.comparability import Difference, differences
from eqff.comparison.defaults import with_defaults
from eqff.comparison.rows import Row, make_rows
from eqff.comparison.run import Run, State
from eqff.comparison.settings import SEEDS, group_titles
from eqff.comparison.tables import Table, make_tables, missing
from eqff.errors import DataError

_VERSIONS = ("eqff", "torch", "e3nn")


@dataclass(frozen=True)
class Group:
    """Rows that stand in one set of tables.

    Attributes:
        title: What they have in common; empty if the comparison has one group only.
        rows: Sorted.
        metrics: Shown.
        differences: What makes them no comparison.
        notes: On single runs.
    """

    title: str
    rows: tuple[Row, ...]
    metrics: tuple[str, ...]
    differences: tuple[Difference, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def runs(self) -> list[Run]:
        """Of all rows."""
        return [run for row in self.rows for run in row.runs]

    def tables(self) -> list[Table]:
        """Settings, errors by set, cost."""
        return make_tables(self.rows, self.metrics, self.differences)


@dataclass(frozen=True)
class Comparison:
    """Some runs, compared.

    Attributes:
        runs: As `eqff.comparison.read_runs` gives them.
        by: Settings or sections; each combination of their values has tables of its own. "data" stands for the content
            of the training data, "name" for the name of the run.
        metrics: To show, see `eqff.comparison.choosing.choose_metrics`.
        sort: Metric (``forces_mae``: of the first set shown) or cost by which rows ascend; None leaves the order of the
            runs.
        seeds: Settings in which repetitions of a run differ.
        problems: Of reading, passed on to reports.

    Raises:
        DataError: There are no runs.
        ConfigError: A metric or setting that no run has.
    """

    runs: Sequence[Run]
    by: Sequence[str] = ()
    metrics: Sequence[str] | None = None
    sort: str | None = None
    seeds: Sequence[str] = SEEDS
    problems: Sequence[str] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        if not self.runs:
            raise DataError("There are no runs to compare.")
        choose_metrics(self.runs, self.metrics)  # an unknown name is told before anything is written
        check_sort_key(self.runs, self.sort)

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """In the order of the first run of each."""
        members: dict[str, list[Run]] = {}
        runs, _ = self._completed
        for title, run in zip(self._titles(runs), runs, strict=True):
            members.setdefault(title, []).append(run)
        return tuple(self._group(title, runs) for title, runs in members.items())

    @property
    def rows(self) -> Iterator[tuple[Group, Row]]:
        """All rows with their groups."""
        return ((group, row) for group in self.groups for row in group.rows)

    def notes(self) -> list[str]:
        """On the runs as a whole: what could not be read, versions that differ."""
        return [*self.problems, *self._completed[1], *_version_notes(self.runs)]

    @cached_property
    def _completed(self) -> tuple[list[Run], list[str]]:
        return with_defaults(self.runs)

    def _titles(self, runs: Sequence[Run]) -> list[str]:
        if not self.by:
            return [""] * len(runs)
        parts = [group_titles(runs, key, self.seeds) for key in self.by]
        keys = list(self.by)
        return [
            "; ".join(f"{key}: {t}" for key, t in zip(keys, texts, strict=True)) for texts in zip(*parts, strict=True)
        ]

    def _group(self, title: str, runs: list[Run]) -> Group:
        rows, odd = make_rows(runs, self.seeds)
        kept = [run for row in rows for run in row.runs]
        metrics = choose_metrics(kept, self._present(kept))
        rows = sort_rows(rows, self.sort, metrics)
        names = [_run_name(row, run) for row in rows for run in row.runs]
        found = differences([run for row in rows for run in row.runs], names, metrics)
        notes = [*odd, *_run_notes(rows), *missing(rows, metrics)]
        return Group(title, tuple(rows), tuple(metrics), tuple(found), tuple(notes))

    def _present(self, runs: Sequence[Run]) -> Sequence[str] | None:
        """The wanted metrics that these runs have; a group may lack a test set that another has."""
        if self.metrics is None:
            return None
        wanted = choose_metrics(self.runs, self.metrics)
        return [name for name in wanted if any(name in run.metrics for run in runs)]


def _run_name(row: Row, run: Run) -> str:
    return row.label if len(row.runs) == 1 else run.short_source


def _run_notes(rows: Sequence[Row]) -> list[str]:
    notes = []
    for row in rows:
        for run in row.runs:
            notes += [f"{run.source}: {note}." for note in run.notes]
            if run.state is not State.FINISHED:
                notes.append(
                    f"{run.source} is {run.state.value} after {run.cost.steps or 0} steps: its errors are those of its "
                    "best validation so far, and it is not ranked."
                )
            broken = [name for name, value in run.metrics.items() if not math.isfinite(value)]
            if broken:
                notes.append(f"{run.source}: not finite: {', '.join(broken)}.")
    return notes


def _version_notes(runs: Sequence[Run]) -> list[str]:
    notes = []
    texts = {
        "git commit": [run.provenance.get("git_commit") for run in runs],
        "machine": [run.provenance.get("platform") for run in runs],
        "run folder format": [run.provenance.get("format", 0) for run in runs],
    }
    for name in _VERSIONS:
        texts[f"version of {name}"] = [(run.provenance.get("versions") or {}).get(name) for run in runs]
    for what, values in texts.items():
        known = {str(value) for value in values if value is not None}
        if len(known) > 1:
            notes.append(f"The runs differ in {what}: {', '.join(sorted(known))}.")
    return notes
