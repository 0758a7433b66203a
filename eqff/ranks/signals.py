"""Signals of processes that others start and watch over: passed on once, and held back until someone can take them."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""That end a training in order."""


def leave_signals_to_parent() -> None:
    """From now on signals come from the parent alone, which passes on each once, and ends this process with itself."""
    if hasattr(os, "setpgrp"):
        os.setpgrp()  # a terminal sends Ctrl-C to the whole group of its foreground process
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    if sys.platform == "linux":
        # a run that was killed must not go on writing; 1: PR_SET_PDEATHSIG
        ctypes.CDLL(None).prctl(1, int(signal.SIGKILL))


@dataclass
class Forwarding:
    """Signals on their way to processes.

    Attributes:
        received: So far.
        processes: That get them.
    """

    received: list[int] = field(default_factory=list)
    processes: Sequence[BaseProcess] = ()

    def to(self, processes: Sequence[BaseProcess]) -> None:
        """Passes signals on to these from now on, and those that came before."""
        self.processes = processes
        for number in self.received:
            self._send(number)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """What Python calls when a signal comes."""
        self.received.append(number)
        self._send(number)

    def _send(self, number: int) -> None:
        for process in self.processes:
            with suppress(OSError):  # it has just ended
                os.kill(process.pid, number)


@contextmanager
def forwarded_signals() -> Iterator[Forwarding]:
    """SIGINT and SIGTERM are passed on while the block runs; only a main thread can."""
    forwarding = Forwarding()
    in_main = threading.current_thread() is threading.main_thread()
    previous = {number: signal.signal(number, forwarding) for number in SIGNALS} if in_main else {}
    try:
        yield forwarding
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def held_signals() -> Iterator[None]:
    """SIGINT and SIGTERM wait while the block runs, also in processes that start in it, where there is such a thing."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
