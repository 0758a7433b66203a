"""One loop at a time in a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eqff.errors import ConfigError

LOCK_FILE = "active.lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds a lock on a folder while the block runs; the system lets go of it when the process ends, however it ends.

    Raises:
        ConfigError: Somebody else holds it.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    path = folder / LOCK_FILE
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = path.read_text(encoding="utf-8").strip()
            raise ConfigError(
                f"{folder}: another loop (process {owner}) is still at work there. Wait until it is done or end it, "
                "and give the same command again."
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
