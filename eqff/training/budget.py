"""How much training may cost, and how much of that is used."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache

import psutil

from eqff.errors import ConfigError


@dataclass(frozen=True)
class BudgetSettings:
    """The section ``budget``; limits in epochs and steps are ``trainer.max_epochs`` and ``trainer.max_steps``.

    Attributes:
        cpu_seconds: CPU time of the process and all its children since its start, imports and compilation included.
        wall_seconds: Wall time since the start of the process.
        default_epochs: What ends training when no limit of any kind is given.
    """

    cpu_seconds: float | None = None
    wall_seconds: float | None = None
    default_epochs: int = 200

    def __post_init__(self) -> None:
        for name in ("cpu_seconds", "wall_seconds", "default_epochs"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ConfigError(f"budget.{name} must be positive, not {value}.")


def wall_seconds() -> float:
    """Since the process started."""
    return time.time() - _started(os.getpid())


@cache
def _started(process: int) -> float:
    return psutil.Process(process).create_time()  # takes a tenth of a millisecond, and steps ask several times


class CpuClock:
    """CPU seconds, user and system, of this process and its children since the process started.

    Children that have ended are counted in the process's own record. Those alive are asked for every few seconds only
    (compiler workers and data loaders use little once they run), because looking for them takes a millisecond.

    Args:
        refresh_seconds: How old the children's figure may be.
    """

    def __init__(self, refresh_seconds: float = 2.0):
        self.refresh_seconds = refresh_seconds
        self._children = 0.0
        self._asked = -float("inf")

    def __call__(self) -> float:
        """Seconds."""
        now = time.monotonic()
        if now - self._asked > self.refresh_seconds:
            # a child that ends is not forgotten: what it used moves to its parent's record
            self._children = max(self._children, _children_seconds())
            self._asked = now
        return time.process_time() + self._children


def _children_seconds() -> float:
    process = psutil.Process()
    own = process.cpu_times()
    total = own.children_user + own.children_system
    for child in process.children(recursive=True):
        try:
            times = child.cpu_times()
        except psutil.Error:  # it has just ended
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


@dataclass
class Clocks:
    """CPU and wall seconds, for budgets and metrics.

    Attributes:
        since_process_start: Count from the start of the process; else from when this was made.
        earlier: What was used before, by a process that started this one.
        functions: ``cpu_seconds`` and ``wall_seconds``.
    """

    since_process_start: bool
    earlier: Mapping[str, float] = field(default_factory=dict)
    functions: dict[str, Callable[[], float]] = field(init=False)

    def __post_init__(self) -> None:
        raw = {"cpu_seconds": CpuClock(), "wall_seconds": wall_seconds}
        starts = {name: 0.0 if self.since_process_start else clock() for name, clock in raw.items()}
        for name, seconds in self.earlier.items():
            starts[name] -= seconds
        self.functions = {name: lambda c=clock, s=starts[name]: c() - s for name, clock in raw.items()}

    def read(self) -> dict[str, float]:
        """What is used by now."""
        return {name: clock() for name, clock in self.functions.items()}


@dataclass
class Limit:
    """One thing that ends training.

    Attributes:
        name: For people: "epochs", "steps", "CPU seconds"...
        total: How much there is.
        used: Tells how much is used so far.
        timed: Whether one more step could overrun it.
    """

    name: str
    total: float
    used: Callable[[], float]
    timed: bool = False


@dataclass
class Budget:
    """The limits of one training; the first one that is reached ends it.

    Attributes:
        limits: At least one.
        carried: What earlier runs of a resumed training used of each timed limit, by name.
        started: What of each timed limit was used when the first step was done, by name: imports, reading, compilation.
    """

    limits: list[Limit] = field(default_factory=list)
    carried: dict[str, float] = field(default_factory=dict)
    started: dict[str, float] = field(default_factory=dict)

    def used(self, limit: Limit) -> float:
        """How much of a limit is used, earlier runs of the same training included."""
        return limit.used() + self.carried.get(limit.name, 0.0)

    @property
    def fraction(self) -> float:
        """Share of the budget that is used, of the limit that is nearest to its end; 0 to 1."""
        return min(max((self.used(limit) / limit.total for limit in self.limits), default=0.0), 1.0)

    @property
    def progress(self) -> float:
        """How far training is, 0 to 1: like `fraction`, but starting from 0 after start-up, as schedules need it."""
        return min(max((self._progress(limit) for limit in self.limits), default=0.0), 1.0)

    def _progress(self, limit: Limit) -> float:
        if not limit.timed:
            return self.used(limit) / limit.total
        if limit.name not in self.started:
            return 0.0
        left = limit.total - self.started[limit.name]
        return (self.used(limit) - self.started[limit.name]) / left if left > 0 else 1.0

    def start(self) -> None:
        """Notes, after the first step, what start-up has used; a resumed training keeps what was noted first."""
        for limit in self.limits:
            if limit.timed:
                self.started.setdefault(limit.name, self.used(limit))

    def spent(self, step_seconds: float) -> bool:
        """Whether another step, lasting about so long, would no longer fit into a limit of time."""
        return any(limit.timed and self.used(limit) + step_seconds > limit.total for limit in self.limits)

    def describe(self) -> dict[str, dict[str, float]]:
        """Total and used of every limit, for reports."""
        return {limit.name: {"total": limit.total, "used": self.used(limit)} for limit in self.limits}

    def state_dict(self) -> dict[str, dict[str, float]]:
        """What is used of the timed limits, for checkpoints."""
        used = {limit.name: self.used(limit) for limit in self.limits if limit.timed}
        return {"used": used, "started": dict(self.started)}

    def load_state_dict(self, state: dict[str, dict[str, float]]) -> None:
        """Counts on from what an earlier run used."""
        self.carried, self.started = dict(state["used"]), dict(state["started"])


def timed_limits(settings: BudgetSettings, clocks: Mapping[str, Callable[[], float]]) -> list[Limit]:
    """The limits in seconds that the settings name.

    Args:
        settings: How much there is.
        clocks: ``cpu_seconds`` and ``wall_seconds`` used so far.
    """
    limits = []
    if settings.cpu_seconds is not None:
        limits.append(Limit("CPU seconds", float(settings.cpu_seconds), clocks["cpu_seconds"], timed=True))
    if settings.wall_seconds is not None:
        limits.append(Limit("wall seconds", float(settings.wall_seconds), clocks["wall_seconds"], timed=True))
    return limits


def epoch_limit(settings: BudgetSettings, max_epochs: int | None, max_steps: int) -> int:
    """Lightning's ``max_epochs``: as given, else none (-1) where another limit holds, else the default."""
    if max_epochs is not None:
        return max_epochs
    other = settings.cpu_seconds is not None or settings.wall_seconds is not None or max_steps > 0
    return -1 if other else settings.default_epochs
