"""Work shared among processes that end with the one that started them."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import TypeVar

import torch

from eqff.errors import DataError

Task = TypeVar("Task")
Result = TypeVar("Result")
_AHEAD = 4  # tasks per process that may be finished and not yet taken, which bounds what lies about


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_order(function: Callable[[Task], Result], tasks: Iterable[Task], processes: int) -> Iterator[Result]:
    """Results of a function in the order of the tasks; with one process it is done in this one.

    Raises:
        DataError: A process was killed.
    """
    if processes <= 1:
        yield from map(function, tasks)
        return
    executor = ProcessPoolExecutor(processes, initializer=_start)
    waiting: deque[Future[Result]] = deque()
    try:
        for task in tasks:
            waiting.append(executor.submit(function, task))
            if len(waiting) >= _AHEAD * processes:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise DataError(
            "A process that builds the data cache was killed, probably because memory ran out. Try fewer of them: "
            "data.cache_workers=1."
        ) from error
    finally:
        executor.shutdown(cancel_futures=True)


def _start() -> None:
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
