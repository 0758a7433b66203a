"""Files that are either whole or not there, whatever interrupts the writing."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eqff.errors import StorageError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def replacing(path: str | Path, previous: Path | None = None) -> Iterator[Path]:
    """A temporary path beside ``path`` to write to; it takes the name ``path`` in one step once all is on the disk.

    If the block raises, or the process or the machine dies, the file that stood at ``path`` before is untouched.

    Args:
        path: Of the file; folders are made.
        previous: Where the file that stood at ``path`` goes on living; None to let it go.

    Raises:
        StorageError: The disk is full, a quota or limit is reached.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o666 & ~_umask())  # mkstemp makes private files; these are for colleagues too
        if previous is not None:
            _keep(path, previous)
        temporary.replace(path)
        _sync_folder(path.parent)
    except Exception as error:
        if not _is_full(error):
            raise
        raise StorageError(_explain(path, error)) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def remove_leftovers(path: str | Path) -> None:
    """Deletes the temporary files that killed processes left of `replacing` ``path``."""
    path = Path(path)
    for left in path.parent.glob(f".{path.name}.*"):
        left.unlink(missing_ok=True)


def _keep(path: Path, previous: Path) -> None:
    """Gives the file at ``path`` the second name ``previous``, so that at no moment there is none at ``path``."""
    if not path.exists():
        return
    link = path.with_name(f".{path.name}.link")
    link.unlink(missing_ok=True)
    try:
        os.link(path, link)
    except OSError:  # a file system without links
        path.replace(previous)
        return
    link.replace(previous)


def _sync_folder(folder: Path) -> None:
    """Makes the renaming itself survive a power failure; where a folder can't be opened (Windows) there is no need."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _is_full(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in _FULL
    return any(os.strerror(number) in str(error) for number in _FULL)  # libraries that write files themselves


def _explain(path: Path, error: Exception) -> str:
    there = next(folder for folder in path.absolute().parents if folder.exists())
    free = shutil.disk_usage(there).free / 2**20
    stands = "what stood there before is untouched" if path.exists() else "nothing stood there before"
    return (
        f"'{path}' could not be written: {error}. {free:,.0f} MiB are free there; {stands}. "
        "Make room (disk or quota), then repeat the command."
    )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
