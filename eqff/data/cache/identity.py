"""What a file is, whatever it is called and wherever it lies: the hash of its bytes, computed once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from eqff.checkpoints.atomic import replacing
from eqff.data.cache.folder import FORMAT

_REMEMBERED = "files.json"


class Identities:
    """Hashes of files, remembered by path, size and time of the last change.

    Args:
        folder: Of the cache; hashes are kept in a file of it.
    """

    def __init__(self, folder: Path):
        self._path = folder / _REMEMBERED
        self._known: dict[str, list[Any]] = self._load()

    def of(self, files: Sequence[Path]) -> list[str]:
        """BLAKE2b of each file's bytes; a file that did not change since the last time is not read."""
        before = dict(self._known)
        hashes = [self._one(file) for file in files]
        if self._known != before:
            self._save()
        return hashes

    def _one(self, file: Path) -> str:
        about = file.stat()
        key, stamp = str(file.resolve()), [about.st_size, about.st_mtime_ns]
        if self._known.get(key, [])[:2] != stamp:
            with file.open("rb") as opened:
                digest = hashlib.file_digest(opened, lambda: hashlib.blake2b(digest_size=20)).hexdigest()
            self._known[key] = [*stamp, digest]
        return self._known[key][2]

    def _load(self) -> dict[str, list[Any]]:
        try:
            return json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # not there, or written by something else: files are hashed again
            return {}

    def _save(self) -> None:
        with suppress(OSError), replacing(self._path) as temporary:  # in a folder of others: hashed again next time
            temporary.write_text(json.dumps(self._known), encoding="utf-8")


def structures_key(hashes: Sequence[str], parts: Sequence[str], kinds: Sequence[str], reading: dict) -> str:
    """Name of the cache of structures that are read from these files in this way.

    Args:
        hashes: Of the files, in their order.
        parts: The slice of frames of each, "" for all.
        kinds: End of each file's name, by which its reader is chosen, and what tells a reader of a package from others.
        reading: Keys, units, charges, fields that there are, and whatever else decides what is made of the files.
    """
    files = [list(file) for file in zip(hashes, parts, kinds, strict=True)]
    content = json.dumps({"format": FORMAT, "files": files, "reading": reading}, sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def lists_key(structures: str, cutoff: float) -> str:
    """Name of the cache of one neighbour list of these structures; what models call the list doesn't matter."""
    return f"{structures}-neighbours-{float(cutoff)!r}"
