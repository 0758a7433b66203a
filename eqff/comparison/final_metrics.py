"""The metrics of a run as a whole, and their units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eqff.comparison.run import quantity_of


def best_validation(rows: Sequence[Mapping[str, Any]], config: Mapping[str, Any]) -> dict[str, float]:
    """The validation metrics that would be reported if training ended now: of the best row, or of the last."""
    training = config.get("training") or {}
    monitor = training.get("monitor", "val/loss")
    validations = [row for row in rows if isinstance(row.get(monitor), float)]
    if not validations:
        return {}
    best = training.get("keep", "best") == "best"
    row = min(validations, key=lambda row: row[monitor]) if best else validations[-1]
    return {name: value for name, value in row.items() if name.startswith("val/")}


def numeric(metrics: Mapping[str, Any]) -> dict[str, float]:
    """What of some values are numbers."""
    return {name: float(v) for name, v in metrics.items() if isinstance(v, int | float) and not isinstance(v, bool)}


def units_of(
    metrics: Sequence[str], known: Mapping[str, str], by_set: Mapping[str, Mapping[str, str]]
) -> dict[str, str]:
    """The unit of each metric: of its own name, of its quantity in its set, else of the same metric in validation.

    Args:
        metrics: Full names.
        known: Units by full name.
        by_set: Units by set and quantity.
    """
    units = {}
    for name in metrics:
        part, _, short = name.partition("/")
        fallback = known.get(f"val/{short}", known.get(f"val/{quantity_of(name)}_mae"))
        unit = by_set.get(part, {}).get(quantity_of(name)) or known.get(name, fallback)
        if unit:
            units[name] = unit
    return units
