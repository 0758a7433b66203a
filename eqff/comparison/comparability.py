"""What makes the numbers of two runs no comparison: other data, other split, other reference energies, other units."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eqff.comparison.run import Run

UNKNOWN = "not known"
_ENERGY_TOLERANCE = 1e-5  # eV: least squares on another number of threads differ by less
_RELATIVE_TOLERANCE = 1e-6  # of the numbers by which sets are told apart
_SHOWN = 4
_LOSS = "val/loss"


@dataclass(frozen=True)
class Difference:
    """Something that should be the same in all runs and isn't.

    Attributes:
        what: "training data", "E0", "test set far"...
        values: Each value, as text, to the runs that have it.
        metrics: Beginnings of the names of the metrics that can't be ranked for it (``far/``); none if errors can
            still be ranked, because they are over the same labels.
    """

    what: str
    values: Mapping[str, tuple[str, ...]]
    metrics: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [f"{value} ({_some(runs)})" for value, runs in self.values.items()]
        return f"{self.what}: {' | '.join(parts)}"


def differences(runs: Sequence[Run], names: Sequence[str] | None = None, shown: Sequence[str] = ()) -> list[Difference]:
    """What is not the same in all runs though it should.

    Args:
        runs: To compare; with fewer than two nothing differs.
        names: For messages; by default the end of where they were read from.
        shown: Metrics of tables: what a validation loss is made of matters where it is one of them.
    """
    names = [run.short_source for run in runs] if names is None else names
    found: list[Difference] = []
    for what, values, metrics in _aspects(runs, shown):
        by_value: dict[str, list[str]] = {}
        for name, value in zip(names, values, strict=True):
            if value is not None:
                by_value.setdefault(value, []).append(name)
        if len(by_value) > 1:
            found.append(Difference(what, {value: tuple(members) for value, members in by_value.items()}, metrics))
    return found


Aspect = tuple[str, list[str | None], tuple[str, ...]]


def _aspects(runs: Sequence[Run], shown: Sequence[str]) -> Iterator[Aspect]:
    """What, its value in each run (None: does not apply), metrics that it forbids to rank."""
    yield "training data", [_data(run) for run in runs], ()
    yield "split", [_short(run.data.split) for run in runs], ()
    yield "level of theory", [_level(run) for run in runs], ()
    yield "E0", _reference_energies(runs), ()
    for name in dict.fromkeys(name for run in runs for name in run.data.sets if name != "train"):
        title = "validation set" if name == "val" else f"test set {name}"
        yield title, _contents([run.data.sets.get(name) for run in runs]), (f"{name}/",)
    for metric in dict.fromkeys(name for run in runs for name in run.metrics):
        units = [run.units.get(metric) if metric in run.metrics else None for run in runs]
        yield f"unit of {metric}", units, (metric,)
    if _LOSS in shown:
        yield "losses", [_losses(run) if _LOSS in run.metrics else None for run in runs], (_LOSS,)


def _losses(run: Run) -> str:
    """What the validation loss is the sum of: the weights are those of the last stage."""
    terms = (run.config.get("training") or {}).get("losses") or {}
    texts = []
    for name, term in sorted(terms.items()):
        if term is not None:
            last, first = term.get("second_weight"), term.get("weight", 1.0)
            options = [f"{key}={term[key]}" for key in ("per_atom", "delta", "pass_weights") if term.get(key)]
            weight = first if last is None else last
            texts.append(" ".join([f"{weight:g} {term.get('function', 'mse')}({name})", *options]))
    return " + ".join(texts) or UNKNOWN


def _data(run: Run) -> str:
    if not run.data.data_hash:
        return UNKNOWN
    sizes = [f"{run.data.sets[name]['frames']} {name}" for name in ("train", "val") if name in run.data.sets]
    return f"hash {run.data.data_hash[:12]}" + (f", {' + '.join(sizes)} frames" if sizes else "")


def _short(value: str | None) -> str:
    return value[:12] if value else UNKNOWN


def _level(run: Run) -> str:
    level = run.data.level_of_theory
    return UNKNOWN if level is None else f"'{level}'" if level else "none declared"


def _reference_energies(runs: Sequence[Run]) -> list[str | None]:
    """The E0 that are not the same everywhere."""
    known = [run.data.reference_energies for run in runs]
    elements = [
        element
        for element in dict.fromkeys(element for energies in known for element in energies)
        if not _same([energies.get(element) for energies in known if energies])
    ]
    return [_energies(energies, elements) if energies else UNKNOWN for energies in known]


def _energies(energies: Mapping[str, float], elements: Sequence[str]) -> str:
    if not elements:
        return "known"
    shown = [f"{e} {energies[e]:.6f}" if e in energies else f"no {e}" for e in elements[:_SHOWN]]
    more = f" and {len(elements) - _SHOWN} more" if len(elements) > _SHOWN else ""
    return f"{', '.join(shown)} eV{more}"


def _same(values: Sequence[float | None]) -> bool:
    numbers = [value for value in values if value is not None]
    return len(numbers) == len(values) and (not numbers or max(numbers) - min(numbers) <= _ENERGY_TOLERANCE)


def _contents(sets: Sequence[Mapping[str, Any] | None]) -> list[str | None]:
    """What differs among the contents of sets of one name; labels that only some runs have read don't count."""
    present = [content for content in sets if content]
    texts: list[list[str]] = [[] for _ in sets]
    for name in ("frames", "elements", "states"):
        if any(content.get(name) != present[0].get(name) for content in present):
            for text, content in zip(texts, sets, strict=True):
                text.append(_listed(name, (content or {}).get(name)))
    labels = [content.get("labels", {}) for content in present]
    for label in labels[0] if labels else ():
        shared = [found[label] for found in labels if label in found]
        for number in shared[0]:
            if not all(_close(found.get(number), shared[0][number]) for found in shared):
                for text, content in zip(texts, sets, strict=True):
                    value = (content or {}).get("labels", {}).get(label, {}).get(number)
                    text.append(f"{label} {number} {value:.6g}" if value is not None else f"no {label}")
    return [", ".join(text[:_SHOWN]) if content else None for text, content in zip(texts, sets, strict=True)]


def _listed(name: str, value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{name} {' '.join(f'{key}:{count}' for key, count in value.items())}"
    return f"{value} {name}"


def _close(one: Any, other: Any) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=_RELATIVE_TOLERANCE, abs_tol=1e-12)


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
