"""Keeps as many jobs running as there are slots, until all have ended or the command is told to stop."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from eqff.sweeps.launchers.jobs import Ending, Handle, Job, Launcher

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass
class Outcome:
    """What became of jobs.

    Attributes:
        endings: By name, of those that ended while this command ran.
        left: Names of those that still run: of a queue, when this command was told to stop.
        signal: That told it to stop; None if none did.
    """

    endings: dict[str, Ending] = field(default_factory=dict)
    left: tuple[str, ...] = ()
    signal: int | None = None


@dataclass
class _Stop:
    """What signals have asked for."""

    signal: int | None = None
    count: int = 0

    def ask(self, number: int, frame: FrameType | None = None) -> None:
        self.signal, self.count = number, self.count + 1


def run_jobs(
    jobs: Iterator[Job],
    launcher: Launcher,
    began: Callable[[Job], None] = lambda job: None,
    ended: Callable[[Job, Ending], None] = lambda job, ending: None,
) -> Outcome:
    """Runs jobs. On Ctrl-C or SIGTERM no more are started; local ones are told to save and end, those of a queue stay.

    Args:
        jobs: The next is taken when a slot is free, so that a search can choose it by what has ended before.
        launcher: Starts them.
        began: Called when one was started.
        ended: Called when one has ended.
    """
    outcome, running, heard = Outcome(), {}, 0
    with _listening() as stop, _stopping_on_errors(launcher, running):
        exhausted = False
        while True:
            while not exhausted and not stop.count and _has_room(launcher, running):
                job = next(jobs, None)
                exhausted = job is None
                if job is not None:
                    running[job.name] = (job, launcher.start(job))
                    began(job)
            if stop.count > heard:
                heard = stop.count
                if launcher.leaves:
                    break
                _stop_all(running)
            _collect(running, outcome, ended)
            if not running and (exhausted or stop.count):
                break
            time.sleep(launcher.waits)
        outcome.left, outcome.signal = tuple(running), stop.signal
    return outcome


def _has_room(launcher: Launcher, running: dict[str, Any]) -> bool:
    return launcher.slots is None or len(running) < launcher.slots


def _stop_all(running: dict[str, tuple[Job, Handle]]) -> None:
    for _, handle in running.values():
        handle.stop()


def _collect(running: dict[str, tuple[Job, Handle]], outcome: Outcome, ended: Callable[[Job, Ending], None]) -> None:
    for name, (job, handle) in list(running.items()):
        ending = handle.ending()
        if ending is not None:
            del running[name]
            outcome.endings[name] = ending
            ended(job, ending)


@contextmanager
def _stopping_on_errors(launcher: Launcher, running: dict[str, tuple[Job, Handle]]) -> Iterator[None]:
    """Jobs that would go on unseen after an error are told to save and end; those of a queue stay."""
    try:
        yield
    except BaseException:
        if not launcher.leaves:
            _stop_all(running)
        raise


@contextmanager
def _listening() -> Iterator[_Stop]:
    """Signals are noted while the block runs, not obeyed at once."""
    stop = _Stop()
    previous = {number: signal.signal(number, stop.ask) for number in SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
