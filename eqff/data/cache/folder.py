"""One folder of a cache: .npy files and a manifest, which appear together or not at all."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from filelock import FileLock, Timeout

from eqff.data.cache.npy import checksum, map_npy
from eqff.errors import DataError

FORMAT = 4
"""Of all that is written here, and of how files are read; caches of another format are not read, but built anew."""
MANIFEST = "manifest.json"
CHECKED_BYTES = 2 << 30
"""Up to this size checksums are verified whenever a folder is opened; above, only the sizes of its files."""
_TEMPORARY = ".building-"

log = logging.getLogger(__name__)


def write_manifest(folder: Path, content: dict[str, Any]) -> None:
    """Writes the manifest, which is the last file of a folder to be written."""
    with (folder / MANIFEST).open("w", encoding="utf-8") as file:
        json.dump({"format": FORMAT, **content}, file)
        file.flush()
        os.fsync(file.fileno())


def read_manifest(folder: Path, *, thorough: bool | None = None) -> dict[str, Any]:
    """The manifest of a folder whose files are as it says.

    Args:
        folder: Of the cache.
        thorough: Whether to verify checksums; by default up to `CHECKED_BYTES`.

    Raises:
        DataError: Something is missing, was cut off or altered.
    """
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise DataError(f"{folder}: a cache of format {content['format']}, but this eqff reads format {FORMAT}.")
        _check_files(folder, content["files"], thorough)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder}: the cache is damaged: {error}. Delete this folder; it is built anew.") from error
    return content


def _check_files(folder: Path, files: dict[str, dict[str, int]], thorough: bool | None) -> None:
    for name, about in files.items():
        size = (folder / name).stat().st_size
        if size != about["bytes"]:
            raise ValueError(f"{name} has {size} bytes instead of {about['bytes']}")
    if thorough is None:
        thorough = sum(about["bytes"] for about in files.values()) <= CHECKED_BYTES
    for name, about in files.items() if thorough else ():
        if checksum(folder / name) != about["crc32"]:
            raise ValueError(f"the content of {name} was altered (checksum)")


def map_folder(folder: Path, names: Iterator[str] | list[str]) -> dict[str, np.ndarray]:
    """The arrays of a folder by name, mapped from their files."""
    return {name.removesuffix(".npy"): map_npy(folder / name) for name in names}


def ensure(folder: Path, build: Callable[[Path], None]) -> None:
    """Makes sure that a folder of the cache is there and whole; many processes may ask for it at once.

    One of them builds, in a folder beside it that is renamed when it is finished; the others wait. The lock is the
    operating system's, so it goes with the process that holds it, however that ends; what a killed build has left is
    removed by the next one.

    Args:
        folder: That is wanted.
        build: Fills the empty folder that it is given, its manifest last.
    """
    if is_whole(folder):
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        if is_whole(folder):
            return
        if folder.exists():
            shutil.rmtree(folder)
        for left in folder.parent.glob(f"{folder.name}{_TEMPORARY}*"):
            log.warning("%s: removed what a build that did not finish has left", left)
            shutil.rmtree(left)
        temporary = folder.parent / f"{folder.name}{_TEMPORARY}{uuid4().hex[:8]}"
        temporary.mkdir()  # not mkdtemp, which makes folders that colleagues can't read
        try:
            build(temporary)
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def is_whole(folder: Path) -> bool:
    """Whether a folder of the cache is there and can be used; a damaged one is told."""
    if not folder.exists():
        return False
    try:
        read_manifest(folder)
    except DataError as error:
        log.warning("%s It is built anew now.", str(error).split(" Delete this")[0])
        return False
    return True


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    lock = FileLock(f"{folder}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.warning("%s: another process is building this cache; waiting for it", folder)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
