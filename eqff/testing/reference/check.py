"""Runs reference cases through the topics' layers and compares."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from rich.table import Table

from eqff.errors import EqffError
from eqff.testing.reference.case import Quantity, ReferenceCase

PASS, FAIL, MISSING = "pass", "FAIL", "not implemented"
_TOPICS = "eqff.testing.reference.topics"
_NOT_NUMBERS = ("converged", "esp_points")  # results that say how or where a number was made


@dataclass(frozen=True)
class Row:
    """What came of one quantity of one case.

    Attributes:
        case: ``topic/name``.
        quantity: Name of the quantity; empty where the whole topic is not implemented.
        deviation: Worst deviation, absolute or relative; None where nothing was compared.
        tolerance: The allowed one.
        kind: "absolute" or "relative".
        status: `PASS`, `FAIL` or `MISSING`.
        note: Why it failed, if not by its deviation.
    """

    case: str
    quantity: str
    deviation: float | None
    tolerance: float | None
    kind: str
    status: str
    note: str = ""


def check_case(case: ReferenceCase) -> list[Row]:
    """A row for each quantity that the topic computes and the case has, and one for each result that it does not.

    What goes wrong on the way, on purpose or because the case lacks something, counts as a failure of the case; what
    was computed before is compared all the same, and so are all other cases.
    """
    topic = _topic(case.topic)
    if topic is None:
        return [Row(case.identifier, "", None, None, "", MISSING)]
    rows, error = _compared(case, topic)
    computed = {row.quantity.split(".")[0] for row in rows}
    if error is None and not rows:
        error = "the topic computed nothing of what the case has"
    if error is not None:
        return [*rows, Row(case.identifier, "", None, None, "", FAIL, error)]
    left = [name for name, value in case.results.items() if value is not None and name not in computed]
    return rows + [Row(case.identifier, name, None, None, "", MISSING) for name in left if name not in _NOT_NUMBERS]


def _compared(case: ReferenceCase, topic: ModuleType) -> tuple[list[Row], str | None]:
    """Rows as far as the topic comes, and what stopped it."""
    rows: list[Row] = []
    try:
        for quantity in topic.quantities(case):
            if quantity.expected is not None or case.results.get(quantity.name) is not None:
                rows.append(_compare(case, quantity))
    except EqffError as error:
        return rows, str(error)
    except KeyError as error:
        return rows, f"the case has no {error}"
    except (IndexError, TypeError, ValueError, RuntimeError) as error:
        return rows, f"the case has another form than its topic: {type(error).__name__}: {error}"
    return rows, None


def _topic(name: str) -> ModuleType | None:
    """The module of a topic, None if there is none."""
    if not name.isidentifier() or importlib.util.find_spec(f"{_TOPICS}.{name}") is None:
        return None
    return importlib.import_module(f"{_TOPICS}.{name}")


def _compare(case: ReferenceCase, quantity: Quantity) -> Row:
    kind, tolerance = _tolerance(case.tolerance, quantity.name, quantity.tolerance_of)

    def row(deviation: float | None, status: str, note: str = "") -> Row:
        return Row(case.identifier, quantity.name, deviation, tolerance, kind, status, note)

    expected = case.results.get(quantity.name) if quantity.expected is None else quantity.expected
    if tolerance is None:
        return row(None, FAIL, "the case has no tolerance for it")
    value, expected = np.asarray(quantity.value, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    if value.shape != expected.shape:
        return row(None, FAIL, f"shape {value.shape}, not {expected.shape}")
    difference = np.abs(value - expected)
    if kind == "relative":
        difference = difference / np.maximum(np.abs(expected), np.finfo(float).tiny)
    deviation = float(difference.max(initial=0.0))
    # "not <=" so that NaN fails
    return row(deviation, PASS if deviation <= tolerance else FAIL)


def _tolerance(given: dict, name: str, other: str | None) -> tuple[str, float | None]:
    """Kind and size: what stands under the name, or the longest beginning of it; else likewise the other one's, or one
    relative one for all."""
    kind = given.get("kind", "absolute")
    for leaf in (name.split(".")[-1], other or ""):
        matches = sorted((key for key in given if leaf.startswith(key)), key=len)
        if matches:
            return kind, float(given[matches[-1]])
    return kind, float(given["relative"]) if "relative" in given else None


def check_cases(cases: Iterable[ReferenceCase], report: Callable[[Row], None] = lambda row: None) -> list[Row]:
    """The rows of all cases, each reported as soon as it is there."""
    rows = []
    for case in cases:
        for row in check_case(case):
            report(row)
            rows.append(row)
    return rows


def table(rows: Iterable[Row]) -> Table:
    """The rows for people."""
    result = Table("case", "quantity", "deviation", "tolerance", "", "result")
    colours = {PASS: "green", FAIL: "bold red", MISSING: "yellow"}
    for row in rows:
        numbers = ("" if number is None else f"{number:.1e}" for number in (row.deviation, row.tolerance))
        status = f"[{colours[row.status]}]{row.status}[/]" + (f": {row.note}" if row.note else "")
        result.add_row(row.case, row.quantity, *numbers, row.kind, status)
    return result


def summary(rows: list[Row]) -> str:
    """How many quantities passed and failed, and loudly what was not checked at all."""
    passed = sum(row.status == PASS for row in rows)
    failed = sum(row.status == FAIL for row in rows)
    lines = [f"{passed} quantities pass, {failed} fail."]
    topics: dict[str, int] = {}
    for row in rows:
        if row.status == MISSING and not row.quantity:
            topic = row.case.split("/")[0]
            topics[topic] = topics.get(topic, 0) + 1
    if topics:
        counts = ", ".join(f"{topic} ({count})" for topic, count in topics.items())
        lines.append(f"NOT IMPLEMENTED, so NOT CHECKED: {sum(topics.values())} cases of {counts}.")
    results = sum(row.status == MISSING and bool(row.quantity) for row in rows)
    if results:
        lines.append(f"NOT CHECKED: {results} results of cases whose topic computes others.")
    return "\n".join(lines)
