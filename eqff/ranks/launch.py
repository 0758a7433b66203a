"""Ranks on one machine, started and watched over by a process that is none of them."""

from __future__ import annotations

import logging
import pickle
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import connection, get_context
from multiprocessing.queues import SimpleQueue
from typing import Any

import torch.distributed as dist
from torch.multiprocessing import ProcessContext, ProcessExitedException, ProcessRaisedException, start_processes

from eqff.errors import EqffError, TrainingError
from eqff.ranks.group import ConnectionLost
from eqff.ranks.launchers import Started
from eqff.ranks.signals import forwarded_signals, held_signals, leave_signals_to_parent
from eqff.training.callbacks.persistence import Interrupted
from eqff.training.quiet import quiet_libraries

GRACE_SECONDS = 10.0
"""How long ranks may take to end after one of them has failed."""

_HOST = "127.0.0.1"
_FROM_OUTSIDE = ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP")

Work = Callable[[Started, dist.Store], Any]


@dataclass(frozen=True)
class _Report:
    """What a rank tells at its end: its work's value (pickled by itself, so that tensors travel as numbers and not as
    handles to memory that ends with the rank), or kind and arguments of the exception that ended it."""

    value: bytes = b""
    kind: type[BaseException] | None = None
    arguments: tuple[Any, ...] = ()


@dataclass
class _End:
    """How ranks have ended.

    Attributes:
        told: Their reports, in the order in which they came.
        left: The exit of one that could not report.
        raised: The traceback of one that failed; it has reported too, unless that was before its work began.
    """

    told: list[_Report] = field(default_factory=list)
    left: ProcessExitedException | None = None
    raised: str = ""


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
        EqffError: That of the rank that failed first, or a rank was killed or has left.
        RuntimeError: A rank failed for another reason; has its traceback.
        Interrupted: Told to stop at once.
        KeyboardInterrupt: Told to stop before there was anything to save.
    """
    store = dist.TCPStore(_HOST, 0, is_master=True, wait_for_workers=False)
    reports: SimpleQueue = get_context("spawn").SimpleQueue()
    with forwarded_signals() as forwarding:
        with held_signals():  # in ranks until `leave_signals_to_parent`: their imports end with no traceback
            arguments = (work, count, store.port, reports)
            context = start_processes(_rank, arguments, count, join=False, start_method="spawn")
        forwarding.to(context.processes)
        end = _wait(context, reports)
    failure = _failure(end, bool(forwarding.received))
    if failure is not None:
        raise failure
    return pickle.loads(end.told[0].value)


def _failure(end: _End, stopped: bool) -> BaseException | None:
    """What to raise at the end of all ranks; None where nothing went wrong.

    Args:
        end: Of the ranks.
        stopped: Whether a signal told them to.
    """
    left = end.left
    silent = left is not None and left.exit_code != 1  # with 1 end those that have told why, or leave it to others
    failed = next((report for report in end.told if report.kind not in (None, ConnectionLost)), None)
    if failed is not None and not (silent and failed.kind is RuntimeError):  # whatever it was that missed the other
        return failed.kind(*failed.arguments)
    lost = next((report for report in end.told if report.kind is ConnectionLost), None)
    if stopped and (left or lost or not end.told):
        return KeyboardInterrupt()
    if lost is not None and not silent:
        return ConnectionLost(*lost.arguments)
    if end.raised and not end.told:
        return RuntimeError(f"A rank failed before it could tell:\n{end.raised}")
    return TrainingError(_how_it_ended(left)) if left is not None or not end.told else None


def _wait(context: ProcessContext, reports: SimpleQueue) -> _End:
    """Waits until all ranks have ended."""
    end, done = _End(), False
    with _without_warnings("torch.multiprocessing.spawn"):
        while not done:
            connection.wait(list(context.sentinels), timeout=0.5)
            died = _died(context)  # looked at before others are stopped because of it
            try:
                done = context.join(timeout=0, grace_period=GRACE_SECONDS)
            except ProcessRaisedException as error:
                end.raised, done = str(error), True
            except ProcessExitedException as error:
                end.left, done = error, True
            end.left = end.left if died is None else died
            while not reports.empty():
                end.told.append(reports.get())
    return end


def _died(context: ProcessContext) -> ProcessExitedException | None:
    """What the first rank that left without a word ended with, by a signal or an exit of its own; None for none."""
    for index, process in enumerate(context.processes):
        code = process.exitcode
        if code not in (None, 0, 1):
            name = signal.Signals(-code).name if code < 0 else None
            return ProcessExitedException(
                name or str(code), error_index=index, error_pid=process.pid, exit_code=code, signal_name=name
            )
    return None


def _how_it_ended(ended: ProcessExitedException | None) -> str:
    if ended is None:
        return "The ranks ended without a result."
    how = f"by signal {ended.signal_name}" if ended.signal_name else f"with exit code {ended.exit_code}"
    where = "was ended from outside" if ended.signal_name in _FROM_OUTSIDE else "has crashed or left without a word"
    memory = " On Linux that is mostly the system running out of memory." if ended.signal_name == "SIGKILL" else ""
    return (
        f"Rank {ended.error_index} {where}, {how}, and all others with it.{memory} The last state that "
        "was saved is untouched; go on from it with resume=RUN_FOLDER."
    )


def _rank(index: int, work: Work, count: int, port: int, reports: SimpleQueue) -> None:
    """The life of one rank."""
    leave_signals_to_parent()
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


@contextmanager
def _without_warnings(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
