"""What all launchers have in common: a job, what is known of one that was started, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals
from typing import Protocol

_MESSAGE = "eqff: "
_TAIL = 8192  # bytes
_SIGNALS = frozenset(map(int, Signals))


@dataclass(frozen=True)
class Job:
    """A command to run; started again after it was stopped, it goes on.

    Attributes:
        name: Unique in its sweep.
        command: Program and arguments.
        environment: Variables besides those that are there.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Ending:
    """How a job ended.

    Attributes:
        code: Exit code, negative for the signal that killed it; None where it is not known.
        log: Where its output is.
        reason: What is known besides.
    """

    code: int | None
    log: Path
    reason: str = ""

    def __str__(self) -> str:
        if self.code is None:
            return self.reason or "ended, it is not known how"
        if self.code < 0:
            return f"killed by {_signal(-self.code)}"
        if self.code - 128 in _SIGNALS:  # others are the program's own
            return f"stopped by {_signal(self.code - 128)}"
        return self.reason or message_in(self.log) or f"ended with exit code {self.code}"


def _signal(number: int) -> str:
    return Signals(number).name if number in _SIGNALS else f"signal {number}"


def message_in(log: Path) -> str:
    """The message with which one of eqff's commands has ended; empty if there is none."""
    try:
        tail = log.read_bytes()[-_TAIL:].decode(errors="replace")
    except OSError:
        return ""
    lines = [line for line in tail.splitlines() if line.startswith(_MESSAGE)]
    return lines[-1].removeprefix(_MESSAGE) if lines else ""


class Handle(Protocol):
    """A job that was started."""

    def ending(self) -> Ending | None:
        """How it ended, None while it runs."""

    def stop(self) -> None:
        """Asks it to save its state and end; called again, not to wait for that."""


class Launcher(Protocol):
    """What starts jobs.

    Attributes:
        slots: How many at a time; None for any number.
        waits: s between two looks at those that run.
        leaves: Whether jobs go on when the command that has started them is told to stop.
    """

    slots: int | None
    waits: float
    leaves: bool

    def start(self, job: Job) -> Handle:
        """Starts a job, or finds the one of that name that an earlier command has started and that still runs."""
