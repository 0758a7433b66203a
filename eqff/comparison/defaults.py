"""Settings that some runs don't have because an older eqff wrote them: the defaults of today, where they are known.

Without them a setting that was added between two runs would make them differ, though both have trained the same way.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any

from eqff.comparison.run import EVALUATED, Run
from eqff.comparison.settings import BOOKKEEPING
from eqff.errors import ConfigError

_TARGET = "_target_"
# by name, because most comparisons need none of them, and with them torch
_LOSS = "eqff.training.field_loss.FieldLoss"
_SECTIONS = {
    "": "eqff.training.settings.GeneralSettings",
    "budget": "eqff.training.budget.BudgetSettings",
    "data": "eqff.data.module.AtomicDataModule",
    "tracking": "eqff.tracking.wandb.TrackingSettings",
    "training": "eqff.training.settings.TrainingSettings",
    "training.schedule": "eqff.training.schedules.Schedule",
}
Node = dict[str, Any]


def with_defaults(runs: Sequence[Run]) -> tuple[list[Run], list[str]]:
    """The same runs with what their configs lack and those of others have, if it has a default; says what that was.

    Args:
        runs: To compare.
    """
    configs = [_copied(run.config) for run in runs]
    added: dict[str, int] = {}
    _complete("", [config for config in configs if EVALUATED not in config], added)
    texts = [f"{name} ({count})" for name, count in added.items() if not _kept_out(name)]
    notes = []
    if texts:
        notes = [f"Not in the configs of older runs, taken to be today's defaults: {', '.join(texts)}."]
    return [replace(run, config=config) for run, config in zip(runs, configs, strict=True)], notes


def _copied(config: Mapping[str, Any]) -> Node:
    return {name: _copied(value) if isinstance(value, Mapping) else value for name, value in config.items()}


def _kept_out(name: str) -> bool:
    return any(name == other or name.startswith(f"{other}.") for other in BOOKKEEPING)


def _complete(path: str, nodes: Sequence[Node], added: dict[str, int]) -> None:
    """Fills nodes that stand at one place of configs, and what is below them; counts what it adds by full name."""
    by_class: dict[Any, list[Node]] = {}
    for node in nodes:
        by_class.setdefault(node.get(_TARGET), []).append(node)
    for target, members in by_class.items():
        names = dict.fromkeys(name for node in members for name in node)
        lacking = [name for name in names if any(name not in node for node in members)]
        defaults = _defaults(path, target) if lacking else {}
        for name in lacking:
            here = [node for node in members if name not in node and name in defaults]
            for node in here:
                node[name] = defaults[name]
            if here and defaults[name] is not None:  # null is what a setting that is not there means anyway
                full = f"{path}.{name}" if path else name
                added[full] = added.get(full, 0) + len(here)
        for name in names:
            inner = [node[name] for node in members if isinstance(node.get(name), dict)]
            if len(inner) > 1:
                _complete(f"{path}.{name}" if path else str(name), inner, added)


def _defaults(path: str, target: str | None) -> dict[str, Any]:
    """Plain values by argument of what takes a section; none where that is not known here."""
    from eqff.validation import parameters_of

    signature = _class_named(target) if target else _section(path)
    if signature is None:
        return {}
    parameters, _ = parameters_of(signature)
    found = {name: parameter.default for name, parameter in parameters.items()}
    return {name: _plain(value) for name, value in found.items() if _is_plain(value)}


def _class_named(target: str) -> type | None:
    from eqff.construct import locate

    try:
        return locate(target)
    except ConfigError:  # of a package that is not here, or not trusted
        return None


def _section(path: str) -> Callable[..., Any] | None:
    name = _LOSS if path.startswith("training.losses.") else _SECTIONS.get(path)
    if name is None:
        return None
    module, _, attribute = name.rpartition(".")
    return getattr(import_module(module), attribute)


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is not inspect.Parameter.empty and (value is None or isinstance(value, bool | int | float | str))


def _plain(value: Any) -> Any:
    return [_plain(entry) for entry in value] if isinstance(value, list | tuple) else value
