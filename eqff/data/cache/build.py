"""Builds caches: processes make parts, this one joins them in order and removes them."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from eqff.data.account import Account
from eqff.data.atomic_data import fill_missing_labels
from eqff.data.cache.lists import ListStore, ListWriter, make_lists
from eqff.data.cache.structures import EXTRAS, StructureStore, StructureWriter
from eqff.data.cache.workers import in_order
from eqff.data.columns import Columns
from eqff.data.frame_sequence import fingerprints
from eqff.data.paths import source_name, take
from eqff.data.readers import reader_for
from eqff.data.readers.pieces import Piece
from eqff.data.reading import Reading, guarded, require_frames
from eqff.errors import DataError

PIECE = 5000
"""Structures that one process makes into one part."""
_BUFFER = 512  # structures of a part that are in memory

File = tuple[Path, str]
Item = TypeVar("Item")


@dataclass(frozen=True)
class _Task:
    """One part of the structures: a piece of a file, or a slice of a whole file."""

    number: int
    file: Path
    part: str
    piece: Piece
    reading: Reading
    folder: Path


def build_structures(folder: Path, files: list[File], reading: Reading, processes: int) -> None:
    """Reads files into a folder of the cache.

    Args:
        folder: Empty.
        files: With the slice of frames of each.
        reading: What is made of them.
        processes: How many read at once.

    Raises:
        DataError: As `read_frames` does.
    """
    tasks = [
        _Task(number, file, part, piece, reading, folder) for number, (file, part, piece) in enumerate(_pieces(files))
    ]
    writer, account, found = StructureWriter(folder), Account(), dict.fromkeys(files, 0)
    results = in_order(_read_part, tasks, processes if len(tasks) > 1 else 1)
    for task, (part, its_account) in zip(tasks, _shown(results, "reading structures", len(tasks)), strict=True):
        store = StructureStore(part)
        for start in range(0, len(store), PIECE):
            index = np.arange(start, min(start + PIECE, len(store)))
            writer.add(store.read(index, store.labels)[0], {name: store.extra(name, index) for name in EXTRAS})
        found[task.file, task.part] += len(store)
        account.add(its_account)
        shutil.rmtree(part)
    for (file, part), number in found.items():
        require_frames(number, file, part)
    sources = {source_name(file): place for place, (file, _) in reversed(list(enumerate(files)))}
    writer.close({"account": _plain(account), "sources": sources})


def _pieces(files: list[File]) -> Iterator[tuple[Path, str, Piece]]:
    for file, part in files:
        reader = reader_for(file)
        try:
            pieces = [Piece(0, _Whole(file))] if part else reader.pieces(file, PIECE)
        except (OSError, ValueError) as error:
            raise DataError(f"{file}: can't be read: {error}") from error
        yield from ((file, part, piece) for piece in pieces)


@dataclass(frozen=True)
class _Whole:
    file: Path

    def __call__(self) -> Iterator[Any]:
        return reader_for(self.file).records(self.file)


def _read_part(task: _Task) -> tuple[Path, Account]:
    """Reads, converts and checks the structures of one task into a folder of their own."""
    folder = task.folder / f"part-{task.number}"
    folder.mkdir()
    writer, account = StructureWriter(folder), Account()
    records = take(guarded(task.piece.records(), task.file, task.piece.first), task.part)
    for group in _groups(task.reading.frames(task.file, records, account), _BUFFER):
        frames, shortest = zip(*group, strict=True)
        fill_missing_labels(frames)
        columns = Columns.of(frames)
        writer.add(columns, {"shortest": np.array(shortest), "fingerprint": fingerprints(columns)})
    writer.close({})
    return folder, account


def build_lists(folder: Path, store: StructureStore, cutoff: float, title: str, processes: int) -> None:
    """Makes one neighbour list of all structures of a cache.

    Args:
        folder: Empty.
        store: The structures.
        cutoff: Å.
        title: For the progress bar.
        processes: How many work at once.
    """
    starts = range(0, len(store), PIECE)
    tasks = [_ListTask(folder / f"part-{start}", store, start, cutoff) for start in starts]
    writer = ListWriter(folder)
    results = in_order(_list_part, tasks, processes if len(tasks) > 1 else 1)
    for part in _shown(results, f"neighbour lists: {title}", len(tasks)):
        writer.add(*ListStore(part).pieces())
        shutil.rmtree(part)
    writer.close({"cutoff": cutoff})


@dataclass(frozen=True)
class _ListTask:
    folder: Path
    store: StructureStore
    start: int
    cutoff: float


def _list_part(task: _ListTask) -> Path:
    task.folder.mkdir()
    writer = ListWriter(task.folder)
    stop = min(task.start + PIECE, len(task.store))
    for start in range(task.start, stop, _BUFFER):
        columns, _ = task.store.read(np.arange(start, min(start + _BUFFER, stop)), ())
        writer.add(*make_lists(columns, task.cutoff))
    writer.close({})
    return task.folder


def _groups(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    iterator = iter(items)
    while group := list(islice(iterator, size)):
        yield group


def _shown(results: Iterator[Item], title: str, number: int) -> Iterator[Item]:
    """The same with a progress bar, if there is more than one of them."""
    columns = (TextColumn(f"{title}, parts"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), disable=number < 2, transient=True) as bar:
        task = bar.add_task(title, total=number)
        for result in results:
            yield result
            bar.advance(task)


def _plain(account: Account) -> dict[str, Any]:
    """An account as JSON keeps it."""
    return {
        "used": [[key, target, count] for (key, target), count in account.used.items()],
        "unused": dict(account.unused),
        "notes": list(account.notes.values()),
    }


def account_from_plain(content: dict[str, Any]) -> Account:
    """The inverse."""
    used = Counter({(key, target): count for key, target, count in content["used"]})
    return Account(used, Counter(content["unused"]), {("", str(i)): note for i, note in enumerate(content["notes"])})
