"""The sets of a run: files read into memory or a cache, split, and given the same labels."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eqff.data import fields as table
from eqff.data.account import Account, FrameSet
from eqff.data.atomic_data import fill_missing_labels
from eqff.data.cache import cached_set
from eqff.data.frame_sequence import FrameSequence, MemoryFrames
from eqff.data.grouping import grouping
from eqff.data.paths import PathLike, resolve_paths
from eqff.data.reading import Reading, read_set
from eqff.data.reference_energies import elements_of
from eqff.data.set_checks import CHARGE_TOLERANCE, check_elements, check_required, check_set
from eqff.data.splits import Split, read_split, split_indices
from eqff.data.summary import count_common
from eqff.errors import ConfigError, DataError

Paths = PathLike | Sequence[PathLike]
AUTO = "auto"
LARGE = 500_000_000
"""Bytes of files from which on ``cache="auto"`` means a cache: a few million atoms as extxyz."""


@dataclass
class Sets:
    """Structures by set: "train", "val" and the test sets' names.

    Attributes:
        frames: The structures.
        accounts: What was read from which key, of the sets that have files of their own.
        indices: The split of the training files.
    """

    frames: dict[str, FrameSequence] = field(default_factory=dict)
    accounts: dict[str, Account] = field(default_factory=dict)
    indices: Split = field(default_factory=dict)

    def take(self, name: str, read: FrameSet) -> None:
        """Adds a set that has files of its own.

        Raises:
            DataError: There is one of this name.
        """
        if self.frames.get(name):
            raise DataError(
                f"There are two '{name}' sets: one of its own, and one split off data.path (data.split.{name})."
            )
        self.frames[name], self.accounts[name] = as_sequence(read), read.account

    def fill_labels(self) -> None:
        """Gives every structure the labels that structures of any set have, NaN where unknown."""
        present = {name for frames in self.frames.values() for name in frames.labels}
        for frames in self.frames.values():
            frames.fill([name for name in table.names("label") if name in present])

    def check(self, require: Sequence[str], also_known: Collection[int] = ()) -> None:
        """Checks that the training set has what is needed, and the others nothing that it lacks.

        Args:
            require: Labels.
            also_known: Elements that others may have all the same.

        Raises:
            DataError: An element that no training structure has, or no structure with a required label.
        """
        train = self.frames["train"]
        known = {*elements_of(train), *also_known}
        for name, frames in self.frames.items():
            check_elements(name, frames, known)
        check_required(train, require, self.accounts["train"].unused)

    def notes(self, name: str, charge_tolerance: float = CHARGE_TOLERANCE) -> list[str]:
        """Lines on what is odd about a set; ``charge_tolerance`` as for `check_set`."""
        frames = self.frames[name]
        left_out = list(self.accounts[name].notes.values()) if name in self.accounts else []
        notes = [*left_out, *check_set(frames, charge_tolerance, refuse_zeros=name == "train")]
        common = 0 if name == "train" else count_common(frames, self.frames["train"])
        return notes + ([f"{common} of these structures are in the training set too"] if common else [])


@dataclass(frozen=True)
class SetReader:
    """Where structures are kept once they are read.

    Attributes:
        reading: What is made of files.
        cache: Folder of caches, "auto", or None for memory.
        processes: That build a cache; None for one per core.
    """

    reading: Reading
    cache: PathLike | None = None
    processes: int | None = None

    def read(self, path: Paths, *, every_key: bool = True) -> FrameSet:
        """The structures of some files, and an account of them; ``every_key`` as for `read_set`."""
        folder = cache_folder(self.cache, path)
        if folder is None:
            return read_set(path, self.reading, every_key=every_key)
        return cached_set(path, self.reading, folder, self.processes, every_key=every_key)

    def read_all(
        self,
        path: Paths,
        val: Paths | None,
        test: Mapping[str, Paths],
        split: Mapping[str, Any],
        extra: Paths | None = None,
    ) -> Sets:
        """All sets of a run.

        Args:
            path: Training files.
            val: Validation files; None to split them off the training files.
            test: Test files by name.
            split: How ``path`` is split; see `split_indices`.
            extra: More training files, which are not split.

        Raises:
            ConfigError: ``extra`` together with a cache.
        """
        source = self.read(path)
        frames = as_sequence(source)
        indices = split_frames(frames, split, own_validation=val is not None)
        sets = Sets({name: frames.select(indices[name]) for name in ("train", "val")}, {"train": source.account})
        sets.indices = indices
        if extra is not None:
            sets.frames["train"] = self._with_extra(sets.frames["train"], extra)
        if val is not None:
            sets.take("val", self.read(val, every_key=False))
        if indices["test"]:
            sets.frames["test"] = frames.select(indices["test"])
        for name, files in test.items():
            sets.take(name, self.read(files, every_key=False))
        sets.fill_labels()
        return sets

    def _with_extra(self, train: FrameSequence, extra: Paths) -> FrameSequence:
        if self.cache is not None:
            raise ConfigError("data.extra and data.cache don't go together: name the files in data.path, and data.val.")
        frames = [*train, *read_set(extra, self.reading, every_key=False).frames]
        fill_missing_labels(frames)
        return MemoryFrames(frames)


def as_sequence(read: FrameSet) -> FrameSequence:
    """The structures of a set that was read, in memory or not."""
    return read.frames if isinstance(read.frames, FrameSequence) else MemoryFrames(read.frames)


def split_frames(frames: FrameSequence, split: Mapping[str, Any], *, own_validation: bool) -> Split:
    """Which structures train, validate and test.

    Args:
        frames: Of the training files.
        split: ``file``, or ``by`` and what `split_indices` takes.
        own_validation: Whether validation has files of its own, so that nothing is split off for it.
    """
    settings = dict(split)
    by, file = settings.pop("by", None), settings.pop("file", None)
    if file is not None:
        return read_split(file, len(frames))
    settings |= {name: 0 for name in ("val", "test") if name in settings and settings[name] is None}
    if own_validation:
        settings["val"] = 0
    return split_indices(len(frames), groups=None if by is None else grouping(frames, by), **settings)


def cache_folder(choice: PathLike | None, path: Paths) -> Path | None:
    """Where structures are cached; None for memory.

    Args:
        choice: A folder, "auto" (the user's cache folder if the files are large), or None.
        path: The files.
    """
    if choice is None:
        return None
    if str(choice) != AUTO:
        return Path(choice).expanduser()
    if sum(file.stat().st_size for file, _ in resolve_paths(path)) < LARGE:
        return None
    if named := os.environ.get("EQFF_CACHE"):
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "eqff"
