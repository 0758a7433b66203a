"""What a run has cost, from its rows of metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]
CLOCKS = ("cpu_seconds", "wall_seconds")
_LATER = 2.0  # s; no process is resumed sooner, and clocks of one process agree better


@dataclass(frozen=True)
class Cost:
    """What a run has used; None where it is not known.

    Attributes:
        cpu_seconds: s, of all its processes and of all parts of a resumed run.
        wall_seconds: s, the same.
        steps: Optimizer steps.
        epochs: That were begun.
        parameters: Trainable weights.
        step_milliseconds: CPU time of a step between the first and the last row of metrics, validations included.
    """

    cpu_seconds: float | None = None
    wall_seconds: float | None = None
    steps: int | None = None
    epochs: int | None = None
    parameters: int | None = None
    step_milliseconds: float | None = None


def continued(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The same rows with clocks that go on: those of a resumed run start from zero again in every process."""
    offsets, before = dict.fromkeys(CLOCKS, 0.0), {}
    result = []
    for row in rows:
        if _another_process(before, row):
            for clock in CLOCKS:
                offsets[clock] += before.get(clock) or 0.0
        before = {**before, **row}
        times = {clock: row[clock] + offsets[clock] for clock in CLOCKS if row.get(clock) is not None}
        result.append({**row, **times})
    return result


def without_replaced(rows: Sequence[Row]) -> list[Row]:
    """The same rows without those that a resumed run has written again, all of which W&B keeps.

    A run goes on from a state before which all rows were written: they end where those of the next process begin.

    Args:
        rows: With ``step``, in the order in which they were written.
    """
    kept: list[Row] = []
    before: Row = {}
    for row in rows:
        if _another_process(before, row):
            kept = [earlier for earlier in kept if earlier["step"] < row["step"]]
        kept.append(row)
        before = {**before, **row}
    return kept


def _another_process(before: Row, row: Row) -> bool:
    """Whether a row was written by a process that started after the one that wrote those before."""
    if any(row.get(clock) is not None and row[clock] < before.get(clock, 0.0) for clock in CLOCKS):
        return True
    if not all({"time", "wall_seconds"} <= found.keys() for found in (before, row)):
        return False
    start, earlier = (found["time"] - found["wall_seconds"] for found in (row, before))
    # a clock that lags, as that of several ranks did in validations, puts the start later too, but not behind all rows
    return start - earlier > _LATER and start > before["time"] - _LATER


def cost_of(
    rows: Sequence[Row], budget: Mapping[str, Mapping[str, float]], steps: int | None, parameters: int | None
) -> Cost:
    """What a run has used.

    Args:
        rows: With clocks that go on, see `continued`.
        budget: Total and used of each limit as the run itself has counted them; more exact than the last row.
        steps: As the run itself has counted them, None to take the last row's.
        parameters: Trainable weights.
    """
    counted = {name: limit["used"] for name, limit in budget.items() if "used" in limit}
    epoch = last(rows, "epoch")
    return Cost(
        cpu_seconds=counted.get("CPU seconds", last(rows, "cpu_seconds")),
        wall_seconds=counted.get("wall seconds", last(rows, "wall_seconds")),
        steps=steps if steps is not None else _whole(last(rows, "step")),
        epochs=None if epoch is None else int(epoch) + 1,
        parameters=parameters,
        step_milliseconds=_step_milliseconds(rows),
    )


def last(rows: Sequence[Row], name: str) -> Any:
    """The last value of a column, None if there is none."""
    return next((row[name] for row in reversed(rows) if row.get(name) is not None), None)


def _step_milliseconds(rows: Sequence[Row]) -> float | None:
    timed = [row for row in rows if row.get("cpu_seconds") is not None and row.get("step") is not None]
    if len(timed) < 2 or timed[-1]["step"] <= timed[0]["step"]:
        return None
    first, final = timed[0], timed[-1]
    return 1000 * (final["cpu_seconds"] - first["cpu_seconds"]) / (final["step"] - first["step"])


def _whole(value: Any) -> int | None:
    return None if value is None else int(value)
