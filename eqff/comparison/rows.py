"""Runs that differ in nothing but their seeds, as one row with means and spreads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, nan
from statistics import fmean, stdev

from eqff.comparison.run import Run, State
from eqff.comparison.settings import BOOKKEEPING, SEEDS, differing, fingerprint, select, without

_LONGEST_LABEL = 48


@dataclass(frozen=True)
class Spread:
    """Numbers of several runs.

    Attributes:
        mean: Of all.
        deviation: Their standard deviation (of a sample, n - 1); None for a single one, NaN where one is not finite.
        count: How many.
    """

    mean: float
    deviation: float | None
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        """Of some numbers; None if there are none."""
        if not values:
            return None
        if not all(map(isfinite, values)):  # which stdev does not take
            return cls(fmean(values), nan if len(values) > 1 else None, len(values))
        return cls(fmean(values), stdev(values) if len(values) > 1 else None, len(values))


@dataclass(frozen=True)
class Row:
    """Runs that repeat each other.

    Attributes:
        label: For people, unique among the rows that it was made with.
        runs: At least one; all finished, or all not.
    """

    label: str
    runs: tuple[Run, ...]

    @property
    def state(self) -> State:
        """How far its runs have come."""
        return self.runs[0].state

    def metric(self, name: str) -> Spread | None:
        """A metric over the runs that have it; None if none has."""
        return Spread.of([run.metrics[name] for run in self.runs if name in run.metrics])

    def cost(self, name: str) -> Spread | None:
        """An attribute of `Cost` over the runs that know it."""
        values = [getattr(run.cost, name) for run in self.runs]
        return Spread.of([float(value) for value in values if value is not None])


def make_rows(runs: Sequence[Run], seeds: Sequence[str] = SEEDS) -> tuple[list[Row], list[str]]:
    """Rows in the order of their first runs, and lines on runs that repeat each other in an odd way.

    Args:
        runs: To put together.
        seeds: Full names of the settings in which repetitions differ.
    """
    ignored = (*seeds, *BOOKKEEPING)
    members: dict[str, list[Run]] = {}
    for run in runs:
        key = [without(run.config, ignored), _data_key(run), run.state.value]
        members.setdefault(fingerprint(key), []).append(run)
    groups, notes = [], []
    for repeated in members.values():
        kept, note = _without_copies(repeated, seeds)
        groups.append(tuple(kept))
        notes += note
    labels = _labels(groups, ignored)
    return [Row(label, group) for label, group in zip(labels, groups, strict=True)], notes


def _data_key(run: Run) -> list[object]:
    """What has to agree besides settings; without numbers that come from fits, whose last digits may differ."""
    sets = {name: [content.get("frames"), content.get("states")] for name, content in run.data.sets.items()}
    return [run.data.data_hash, run.data.split, run.data.level_of_theory, sets]


def _without_copies(runs: Sequence[Run], seeds: Sequence[str]) -> tuple[list[Run], list[str]]:
    """Runs whose numbers are not all the same, and what is odd: a copied folder would make a spread too small."""
    kept: dict[str, Run] = {}
    notes = []
    for run in runs:
        first = kept.setdefault(fingerprint([_seeds(run, seeds), run.metrics, run.cost.steps]), run)
        if first is not run:
            notes.append(f"{run.source} has the seed and all numbers of {first.source}: a copy, left out.")
    counts = Counter(_seeds(run, seeds) for run in kept.values())
    for seed, count in counts.items():
        if count > 1:
            same = ", ".join(run.short_source for run in kept.values() if _seeds(run, seeds) == seed)
            notes.append(f"{count} runs have the same seed ({seed}) and other numbers: {same}. All are counted.")
    return list(kept.values()), notes


def _seeds(run: Run, seeds: Sequence[str]) -> str:
    return ", ".join(f"{name}={select(run.config, name)}" for name in seeds)


def _labels(groups: Sequence[tuple[Run, ...]], ignored: Sequence[str]) -> list[str]:
    """The shortest way to tell rows apart: by name, by name and settings, else by where they were read from."""
    firsts = [group[0] for group in groups]
    columns = differing([run.config for run in firsts], ignored)
    ways = (lambda: [run.name for run in firsts], lambda: _by_settings(firsts, columns), lambda: _by_folder(firsts))
    labels = next((found for way in ways if (found := _marked(way(), firsts)) and _distinct(found)), None)
    return labels or _marked([run.source for run in firsts], firsts)


def _by_settings(runs: Sequence[Run], columns: Mapping[str, Sequence[str]]) -> list[str]:
    shared = len({run.name for run in runs}) == 1
    texts = []
    for index, run in enumerate(runs):
        settings = ", ".join(f"{name.rpartition('.')[2]}={column[index]}" for name, column in columns.items())
        texts.append(settings if shared and settings else f"{run.name}: {settings}")
    return texts


def _by_folder(runs: Sequence[Run]) -> list[str]:
    return [run.short_source for run in runs]


def _marked(labels: Sequence[str], runs: Sequence[Run]) -> list[str]:
    """Labels that say it where a run is not finished."""
    states = ["" if run.state is State.FINISHED else f" ({run.state.value})" for run in runs]
    return [label + state for label, state in zip(labels, states, strict=True)]


def _distinct(labels: Sequence[str]) -> bool:
    return len(set(labels)) == len(labels) and all(len(label) <= _LONGEST_LABEL for label in labels)
