"""Ctrl-C and SIGTERM as a wish that is fulfilled between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_requests() -> Iterator[Callable[[], str]]:
    """While the block runs, the first signal is only noted; a second one acts as it would without this.

    Yields:
        A function that tells the signal's name, "" as long as there was none. Outside of the main thread, where Python
        can't take signals, there never is one.
    """
    noted: list[str] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: ""
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def note(number: int, frame: FrameType | None) -> None:
        noted.append(signal.Signals(number).name)
        for each, handler in before.items():
            signal.signal(each, handler)

    for number in _SIGNALS:
        signal.signal(number, note)
    try:
        yield lambda: noted[0] if noted else ""
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
