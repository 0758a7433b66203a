"""Locks on files: they hold between processes, and the system lets go of them when a process ends, however it ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eqff.errors import ConfigError


def try_lock(path: Path) -> int | None:
    """Locks a file, which is made if it is not there.

    Args:
        path: In a folder that is there.

    Returns:
        A descriptor that holds the lock until it and its copies in other processes are closed; None if somebody else
        holds it.

    Raises:
        ConfigError: The file system has no locks.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if _locked(descriptor):
            return descriptor
    except OSError as error:
        os.close(descriptor)
        reason = os.strerror(error.errno or 0)
        raise ConfigError(f"'{path.parent}': its file system has no locks ({reason}). Take a folder on another.") from (
            error
        )
    os.close(descriptor)
    return None


@contextmanager
def locked(path: Path, work: str) -> Iterator[None]:
    """Holds a lock while the block runs; its file names the process.

    Args:
        path: Of the file; its folder is made.
        work: What goes on under the lock, such as "sweep", for the message.

    Raises:
        ConfigError: Somebody else holds it, or the file system has no locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = try_lock(path)
    if descriptor is None:
        owner = path.read_text(encoding="utf-8").strip()
        process = f" (process {owner})" if owner else ""
        raise ConfigError(
            f"'{path.parent}': another {work}{process} is still at work there. Wait until it is done or end it, and "
            "give the same command again."
        )
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    """Whether the lock was to be had; where the system knows none (Windows), it always is."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
