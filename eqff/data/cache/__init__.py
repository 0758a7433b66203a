"""Structures and neighbour lists on disk, for data that is larger than memory (docs/large_data.md).

One folder of .npy files holds the structures of a data path, one more each neighbour list of them. Folders are named by
content: the hash of the files' bytes and the settings they were read with, and the cutoff. PyG's own
``OnDiskDataset`` keeps one serialized object per structure in SQLite or RocksDB, of which neither a column can be
counted nor a batch be copied at once, which is why this is here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from eqff.data.account import FrameSet, check_keys, note_missing_keys
from eqff.data.cache.build import account_from_plain, build_lists, build_structures
from eqff.data.cache.folder import MANIFEST, ensure, read_manifest
from eqff.data.cache.frames import CachedFrames
from eqff.data.cache.identity import Identities, lists_key, structures_key
from eqff.data.cache.lists import ListStore
from eqff.data.cache.structures import StructureStore
from eqff.data.cache.workers import available_cores
from eqff.data.keys import targets
from eqff.data.levels import stated_level
from eqff.data.paths import PathLike, resolve_paths, source_name
from eqff.data.readers import reader_identity
from eqff.data.reading import Reading

__all__ = ["CachedFrames", "cached_set", "open", "verify"]


def cached_set(
    path: PathLike | Sequence[PathLike],
    reading: Reading,
    folder: PathLike,
    processes: int | None = None,
    *,
    every_key: bool = True,
) -> FrameSet:
    """The same as `read_set`, but the structures lie in a cache, which is built if it is not there.

    Args:
        path: See `read_frames`.
        reading: What is made of the files.
        folder: Where caches are kept.
        processes: That build it; by default one for each core.
        every_key: As for `read_set`.

    Raises:
        DataError: As `read_frames` does.
    """
    folder, files = Path(folder).expanduser(), resolve_paths(path)
    processes = processes or available_cores()
    names = [file for file, _ in files]
    hashes = Identities(folder).of(names)
    kinds = ["".join(name.suffixes).lower() + reader_identity(name) for name in names]
    levels = [stated_level(name, reading.level_of_theory) for name in names]
    settings = dataclasses.asdict(reading) | {"level_of_theory": levels, "targets": sorted(targets())}
    key = structures_key(hashes, [part for _, part in files], kinds, settings)
    ensure(folder / key, partial(build_structures, files=files, reading=reading, processes=processes))
    manifest = read_manifest(folder / key, thorough=False)
    renamed = {word: source_name(names[place]) for word, place in manifest["sources"].items()}
    frames = _frames(StructureStore(folder / key, renamed), processes)
    read = FrameSet(frames, names, account_from_plain(manifest["account"]))
    (check_keys if every_key else note_missing_keys)(reading.keys or {}, read)
    return read


def open(folder: PathLike) -> CachedFrames:
    """The structures in one folder of a cache, without the files that they came from.

    Raises:
        DataError: It is damaged, or of another format.
    """
    read_manifest(Path(folder))
    return _frames(StructureStore(Path(folder)), available_cores())


def verify(folder: PathLike) -> None:
    """Compares every file of every folder of a cache with its checksum, whatever its size.

    Raises:
        DataError: The first that is damaged.
    """
    for manifest in sorted(Path(folder).expanduser().glob(f"*/{MANIFEST}")):
        read_manifest(manifest.parent, thorough=True)


def _frames(store: StructureStore, processes: int) -> CachedFrames:
    return CachedFrames(store, partial(_lists, store, processes))


def _lists(store: StructureStore, processes: int, cutoff: float, title: str) -> ListStore:
    """The neighbour lists of all structures of a store, built if they are not there."""
    folder = store.folder.parent / lists_key(store.folder.name, cutoff)
    ensure(folder, partial(build_lists, store=store, cutoff=cutoff, title=title, processes=processes))
    return ListStore(folder)
