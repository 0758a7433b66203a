"""Ranks on one machine, started and watched over by a process that is none of them."""

from __future__ import annotations

import ctypes
import logging
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import connection, get_context
from multiprocessing.process import BaseProcess
from multiprocessing.queues import SimpleQueue
from types import FrameType
from typing import Any

import torch.distributed as dist
from torch.multiprocessing import ProcessContext, ProcessExitedException, ProcessRaisedException, start_processes

from eqff.errors import EqffError, TrainingError
from eqff.ranks.launchers import Started
from eqff.training.callbacks.persistence import Interrupted
from eqff.training.quiet import quiet_libraries

GRACE_SECONDS = 10.0
"""How long ranks may take to end after one of them has failed."""

_HOST = "127.0.0.1"
_SIGNALS = (signal.SIGINT, signal.SIGTERM)

Work = Callable[[Started, dist.Store], Any]


@dataclass(frozen=True)
class _Report:
    """What a rank tells at its end: its work's value (pickled by itself, so that tensors travel as numbers and not as
    handles to memory that ends with the rank), or kind and arguments of the exception that ended it."""

    value: bytes = b""
    kind: type[BaseException] | None = None
    arguments: tuple[Any, ...] = ()


def launch(work: Work, count: int) -> Any:
    """Runs ranks on this machine until all are done.

    Ctrl-C and SIGTERM are passed on to all of them. When one fails, all are stopped. When this process is killed, they
    are too (on Linux).

    Args:
        work: What each rank does, with its place and the store where they meet; can be pickled, as what it returns.
        count: How many ranks.

    Returns:
        What the first rank returned.

    Raises:
        EqffError: That of the rank that failed first, or a rank was killed.
        RuntimeError: A rank failed for another reason; has its traceback.
        Interrupted: Told to stop at once.
        KeyboardInterrupt: Told to stop before there was anything to save.
    """
    store = dist.TCPStore(_HOST, 0, is_master=True, wait_for_workers=False)
    reports: SimpleQueue = get_context("spawn").SimpleQueue()
    with _forwarded_signals() as forwarding:
        with _held_signals():  # in ranks until `_leave_signals_to_parent`: their imports end with no traceback
            arguments = (work, count, store.port, reports)
            context = start_processes(_rank, arguments, count, join=False, start_method="spawn")
        forwarding.to(context.processes)
        told, ended = _wait(context, reports)
    failed = next((report for report in told if report.kind is not None), None)
    if failed is not None and failed.kind is RuntimeError and ended is not None and ended.signal_name == "SIGKILL":
        failed = None  # it lost its connection to the one that was killed
        told = []
    if failed is not None:
        raise failed.kind(*failed.arguments)
    if forwarding.received and (ended is not None or not told):
        raise KeyboardInterrupt
    if ended is not None or not told:
        raise TrainingError(_how_it_ended(ended))
    return pickle.loads(told[0].value)


def _wait(context: ProcessContext, reports: SimpleQueue) -> tuple[list[_Report], ProcessExitedException | None]:
    """All reports in the order in which they came, and the exit of a rank that could not report."""
    told: list[_Report] = []
    ended, done = None, False
    with _without_warnings("torch.multiprocessing.spawn"):
        while not done:
            connection.wait(list(context.sentinels), timeout=0.5)
            killed = _killed(context)  # looked at before others are stopped because of it
            try:
                done = context.join(timeout=0, grace_period=GRACE_SECONDS)
            except ProcessRaisedException:  # it has reported
                done = True
            except ProcessExitedException as error:
                ended, done = error, True
            ended = ended if killed is None else killed
            while not reports.empty():
                told.append(reports.get())
    return told, ended


def _killed(context: ProcessContext) -> ProcessExitedException | None:
    """What the first rank that was killed by SIGKILL ended with; None if there is none."""
    for index, process in enumerate(context.processes):
        if process.exitcode == -signal.SIGKILL:
            name = signal.SIGKILL.name
            return ProcessExitedException(
                name, error_index=index, error_pid=process.pid, exit_code=process.exitcode, signal_name=name
            )
    return None


def _how_it_ended(ended: ProcessExitedException | None) -> str:
    if ended is None:
        return "The ranks ended without a result."
    how = f"by signal {ended.signal_name}" if ended.signal_name else f"with exit code {ended.exit_code}"
    memory = " On Linux that is mostly the system running out of memory." if ended.signal_name == "SIGKILL" else ""
    return (
        f"Rank {ended.error_index} was ended from outside, {how}, and all others with it.{memory} The last state that "
        "was saved is untouched; go on from it with resume=RUN_FOLDER."
    )


def _rank(index: int, work: Work, count: int, port: int, reports: SimpleQueue) -> None:
    """The life of one rank."""
    _leave_signals_to_parent()
    quiet_libraries()
    try:
        store = dist.TCPStore(_HOST, port, is_master=False)
        value = work(Started("eqff", index, index, 0, count, 1, _HOST, port), store)
    except EqffError as error:
        reports.put(_Report(kind=type(error), arguments=(str(error),)))
        sys.exit(1)
    except Interrupted as stop:
        reports.put(_Report(kind=Interrupted, arguments=(int(stop.signal), stop.at_once)))
        sys.exit(1)
    except Exception:
        reports.put(_Report(kind=RuntimeError, arguments=(f"Rank {index} failed:\n{traceback.format_exc()}",)))
        raise
    if index == 0:
        reports.put(_Report(pickle.dumps(value)))


def _leave_signals_to_parent() -> None:
    """From now on signals come from the parent alone, which passes on each once, and ends this process with itself."""
    if hasattr(os, "setpgrp"):
        os.setpgrp()  # a terminal sends Ctrl-C to the whole group of its foreground process
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    if sys.platform == "linux":
        # a run that was killed must not go on writing; 1: PR_SET_PDEATHSIG
        ctypes.CDLL(None).prctl(1, int(signal.SIGKILL))


@dataclass
class _Forwarding:
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
        self.received.append(number)
        self._send(number)

    def _send(self, number: int) -> None:
        for process in self.processes:
            with suppress(OSError):  # it has just ended
                os.kill(process.pid, number)


@contextmanager
def _forwarded_signals() -> Iterator[_Forwarding]:
    """SIGINT and SIGTERM are passed on while the block runs; only a main thread can."""
    forwarding = _Forwarding()
    in_main = threading.current_thread() is threading.main_thread()
    previous = {number: signal.signal(number, forwarding) for number in _SIGNALS} if in_main else {}
    try:
        yield forwarding
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def _held_signals() -> Iterator[None]:
    """SIGINT and SIGTERM wait while the block runs, also in processes that start in it, where there is such a thing."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _without_warnings(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
