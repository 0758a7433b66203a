"""In which settings runs differ, as columns of a table."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from eqff.comparison.run import EVALUATED, Run
from eqff.errors import ConfigError, did_you_mean

SEEDS = ("seed", "data.seed")
"""Runs that differ in these alone are repetitions of each other."""

BOOKKEEPING = (
    "data.cache",
    "data.cache_workers",
    "data.eval_batch_size",
    "data.num_workers",
    "data.path",
    "data.test",
    "data.val",
    "evaluate",
    "figures",
    "name",
    "output",
    "packages",
    "resume",
    "simulate",
    "tracking",
    "training.save_every_seconds",
    "trainer.enable_progress_bar",
    "trainer.log_every_n_steps",
)
"""What changes no result. Where the data lie is none either: what is in them is told by their hash."""

ABSENT = "–"
_NOTHING = (ABSENT, "null")
_TARGET = "_target_"


class _Missing:
    """A setting that a config doesn't have."""


MISSING = _Missing()
Columns = dict[str, list[str]]


def differing(configs: Sequence[Mapping[str, Any]], ignored: Sequence[str] = (*SEEDS, *BOOKKEEPING)) -> Columns:
    """Settings whose values are not the same in all configs.

    A part (a section that names its class) is one column where the classes differ, holding class and what differs
    among parts of that class; where they don't, each of its settings that differs is a column.

    Args:
        configs: Resolved, nested.
        ignored: Full names of settings and sections that are left out.

    Returns:
        By full name, the text of each config's value.
    """
    trained = [index for index, config in enumerate(configs) if EVALUATED not in config]
    columns: Columns = {}
    _compare("", [configs[index] for index in trained] or list(configs), frozenset(ignored), columns)
    if 0 < len(trained) < len(configs):  # what was not trained here has no settings of a training
        given = {name: dict(zip(trained, texts, strict=True)) for name, texts in columns.items()}
        columns = {name: [texts.get(i, ABSENT) for i in range(len(configs))] for name, texts in given.items()}
        columns[EVALUATED] = [_evaluated(config.get(EVALUATED)) for config in configs]
    return columns


def _evaluated(what: Mapping[str, Any] | None) -> str:
    """What was evaluated and not trained, in short."""
    return ABSENT if what is None else " + ".join(_text(value) for value in what.values())


def _compare(path: str, values: list[Any], ignored: frozenset[str], columns: Columns) -> None:
    if path in ignored or all(value == values[0] for value in values):
        return
    # a part that was taken away (null) and one that never was there are the same
    given = [value for value in values if value is not None and value is not MISSING]
    mappings = [value for value in given if isinstance(value, Mapping)]
    if not given:
        return
    if len(mappings) < len(given):
        columns[path] = [_text(value) for value in values]
        return
    classes = {value.get(_TARGET) if isinstance(value, Mapping) else None for value in values}
    if len(classes) > 1:
        columns[path] = _describe_parts(values)
        return
    for name in dict.fromkeys(name for value in mappings for name in value):
        inner = [value.get(name, MISSING) if isinstance(value, Mapping) else MISSING for value in values]
        _compare(f"{path}.{name}" if path else str(name), inner, ignored, columns)


def _describe_parts(values: Sequence[Any]) -> list[str]:
    """Class names, with the settings that differ among those of one class."""
    texts = [ABSENT] * len(values)
    by_class: dict[Any, list[int]] = {}
    for index, value in enumerate(values):
        if isinstance(value, Mapping):
            by_class.setdefault(value.get(_TARGET), []).append(index)
    for target, members in by_class.items():
        columns = differing([values[index] for index in members], ignored=())
        for place, index in enumerate(members):
            values_here = {key: column[place] for key, column in columns.items()}
            inner = ", ".join(f"{key}={value}" for key, value in values_here.items() if value not in _NOTHING)
            name = str(target).rpartition(".")[2] if target else ""
            texts[index] = f"{name}({inner})" if inner else name or "(settings)"
    return texts


def _text(value: Any) -> str:
    if value is MISSING:
        return ABSENT
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def without(config: Mapping[str, Any], ignored: Sequence[str], path: str = "") -> dict[str, Any]:
    """A config without some settings and sections, and without sections that are empty or null."""
    kept = {}
    for name, value in config.items():
        full = f"{path}.{name}" if path else str(name)
        if full in ignored:
            continue
        value = without(value, ignored, full) if isinstance(value, Mapping) else value
        if value is not None and value != {}:
            kept[name] = value
    return kept


def fingerprint(value: Any) -> str:
    """The same text for the same plain values."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def data_name(run: Run) -> str:
    """The training file's last two parts and the hash of the content."""
    path = (run.config.get("data") or {}).get("path") or "data"
    first = path if isinstance(path, str) else str(next(iter(path), "data"))
    short = "/".join(Path(first).parts[-2:])
    return f"{short} [{run.data.data_hash[:8]}]" if run.data.data_hash else short


VIRTUAL: Mapping[str, Callable[[Run], str]] = {"data": data_name, "name": lambda run: run.name}
"""What one can group by besides settings: the content of the data, and the name of the run."""


def group_titles(runs: Sequence[Run], key: str, seeds: Sequence[str] = SEEDS) -> list[str]:
    """For each run, the text of a setting or section by which runs are told apart.

    Args:
        runs: To group.
        key: "data" (its content), or the full name of a setting or section: ``model``, ``model.backbone``, ``dtype``.
        seeds: Settings that make no difference.

    Raises:
        ConfigError: No run has such a setting.
    """
    if key in VIRTUAL:
        return [VIRTUAL[key](run) for run in runs]
    values = [select(run.config, key) for run in runs]
    if all(value is MISSING for value in values):
        known = {name for run in runs for name in _names(run.config)} | set(VIRTUAL)
        raise ConfigError(f"No run has a setting '{key}' to group by.{did_you_mean(key, known)}")
    columns: Columns = {}
    _compare(key, values, frozenset((*seeds, *BOOKKEEPING)), columns)
    if key in columns:
        return columns[key]
    prefix = f"{key}."
    return [
        ", ".join(f"{name.removeprefix(prefix)}={column[index]}" for name, column in columns.items()) or _part(value)
        for index, value in enumerate(values)
    ]


def _part(value: Any) -> str:
    """A value that all runs share, in short."""
    return _describe_parts([value])[0] if isinstance(value, Mapping) else _text(value)


def select(config: Mapping[str, Any], key: str) -> Any:
    """The value of a full name, `MISSING` if there is none."""
    node: Any = config
    for name in key.split("."):
        if not isinstance(node, Mapping) or name not in node:
            return MISSING
        node = node[name]
    return node


def _names(config: Mapping[str, Any], path: str = "") -> list[str]:
    names = []
    for name, value in config.items():
        full = f"{path}.{name}" if path else str(name)
        names += [full, *(_names(value, full) if isinstance(value, Mapping) else ())]
    return names
