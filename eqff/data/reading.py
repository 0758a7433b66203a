"""Files, folders and lists of them to structures."""

from __future__ import annotations

import glob
import re
import sqlite3
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from zipfile import BadZipFile

from ase.io.extxyz import XYZError

from eqff.data.atomic_data import AtomicData, fill_missing_labels
from eqff.data.checks import check_frame
from eqff.data.convert import Converter, Multiplicity
from eqff.data.levels import Levels, stated_level, with_level
from eqff.data.readers import Reader, is_readable, known_suffixes, reader_for
from eqff.data.records import Record
from eqff.errors import DataError, did_you_mean

PathLike = str | Path
SHIPPED = Path(__file__).parents[1] / "datasets"
"""Where the data sets are that come with eqff; ``shipped:ions/train.extxyz.gz`` is a path in it."""
_PREFIX = "shipped:"
_UNREADABLE = (OSError, EOFError, ValueError, KeyError, IndexError, XYZError, BadZipFile, zlib.error, sqlite3.Error)
"""What readers raise on broken files."""
_SLICE = re.compile(r"@(-?\d*)(?::(-?\d*)(?::(-?\d*))?)?$")


@dataclass
class Account:
    """What was read from which key.

    Attributes:
        used: How often each (key, field) was read.
        unused: How often each key was seen and not read.
        notes: What was left out and why, by file and key.
    """

    used: Counter[tuple[str, str]] = field(default_factory=Counter)
    unused: Counter[str] = field(default_factory=Counter)
    notes: dict[tuple[str, str], str] = field(default_factory=dict)

    def take(self, file: Path, converter: Converter) -> None:
        """Adds what a converter has done with frames of a file."""
        self.used += converter.used
        self.unused += converter.unused
        for key, note in converter.notes.items():
            self.notes.setdefault((str(file), key), note)

    def add(self, other: Account) -> None:
        """Adds the account of further frames."""
        self.used += other.used
        self.unused += other.unused
        self.notes = other.notes | self.notes


@dataclass
class FrameSet:
    """Structures that were read together.

    Attributes:
        frames: In the order of the files.
        files: The files.
        account: What was read from which key.
    """

    frames: Sequence[AtomicData] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    account: Account = field(default_factory=Account)

    @property
    def used(self) -> Counter[tuple[str, str]]:
        """How often each (key, field) was read."""
        return self.account.used

    @property
    def unused(self) -> Counter[str]:
        """How often each key was seen and not read."""
        return self.account.unused

    @property
    def notes(self) -> list[str]:
        """What was left out and why."""
        return list(self.account.notes.values())


@dataclass(frozen=True)
class Reading:
    """What is made of files.

    Attributes:
        keys: Key of the file to field where common usage does not tell; None as a field leaves a key alone.
        units: Field to the file's unit, where it is not eqff's (Å, eV, e) nor stated in the file.
        total_charge: e, for frames that state none.
        multiplicity: 2S+1 for frames that state none; ``"lowest"`` for the lowest the electron count allows.
        labels: The only labels to take.
        min_distance: Å; two nuclei closer than this are an error in the file.
        level_of_theory: Of frames that state none: a name, or file (or pattern) to name.
    """

    keys: Mapping[str, str | None] | None = None
    units: Mapping[str, str] | None = None
    total_charge: float | None = None
    multiplicity: Multiplicity | None = None
    labels: Sequence[str] | None = None
    min_distance: float = 0.1
    level_of_theory: Levels = None

    def converter(self, reader: Reader) -> Converter:
        """For files of one format."""
        return Converter(
            self.keys,
            self.units,
            self.total_charge,
            self.multiplicity,
            None if self.labels is None else tuple(self.labels),
            synonyms=reader.synonyms,
            units_known=reader.has_units,
        )

    def frames(self, file: Path, records: Iterable[Record], account: Account) -> Iterator[tuple[AtomicData, float]]:
        """The checked structures of records of one file, one after the other, each with its shortest distance in Å."""
        converter, stated = self.converter(reader_for(file)), stated_level(file, self.level_of_theory)
        for record in records:
            frame = with_level(converter(record), stated)
            yield frame, check_frame(frame, self.min_distance)
        account.take(file, converter)


def read_frames(
    path: PathLike | Sequence[PathLike],
    *,
    keys: Mapping[str, str | None] | None = None,
    units: Mapping[str, str] | None = None,
    total_charge: float | None = None,
    multiplicity: Multiplicity | None = None,
    labels: Sequence[str] | None = None,
    min_distance: float = 0.1,
    level_of_theory: Levels = None,
) -> list[AtomicData]:
    """All structures of some files; labels that a frame lacks and others have are NaN.

    Args:
        path: A file, a folder (all readable files in it, by name), a pattern, or a list of these. ``file.extxyz@:200``
            takes a slice of the frames, as in ASE; ``shipped:ions/train.extxyz.gz`` is a file that comes with eqff.
        keys: Key of the file to field where common usage does not tell; None as a field leaves a key alone.
        units: Field to the file's unit, where it is not eqff's (Å, eV, e) nor stated in the file.
        total_charge: e, for frames that state none.
        multiplicity: 2S+1 for frames that state none; ``"lowest"`` for the lowest the electron count allows.
        labels: The only labels to take.
        min_distance: Å; two nuclei closer than this are an error in the file.
        level_of_theory: Of frames that state none: a name, or file (or pattern) to name.

    Raises:
        DataError: A file is missing, empty, broken or of an unknown kind; a frame is impossible (charge and spin state,
            NaN, coinciding atoms); a key does not exist.
    """
    reading = Reading(keys, units, total_charge, multiplicity, labels, min_distance, level_of_theory)
    return read_set(path, reading).frames


def read_set(path: PathLike | Sequence[PathLike], reading: Reading | None = None) -> FrameSet:
    """The same as `read_frames`, with an account of what was read from which key."""
    reading, result = reading or Reading(), FrameSet()
    result.frames = list(iterate_frames(path, reading, result.account))
    result.files = [file for file, _ in resolve_paths(path)]
    check_keys(reading.keys or {}, result)
    fill_missing_labels(result.frames)
    return result


def iterate_frames(
    path: PathLike | Sequence[PathLike], reading: Reading | None = None, account: Account | None = None
) -> Iterator[AtomicData]:
    """The structures of some files one after the other, never all of them in memory.

    Each has the labels that its file gives it; a label that another frame has may be missing.

    Args:
        path: See `read_frames`.
        reading: What is made of them.
        account: Takes note of keys, complete once all structures are read.

    Raises:
        DataError: See `read_frames`; an error is raised when its frame is reached.
    """
    reading, account = reading or Reading(), account if account is not None else Account()
    for file, part in resolve_paths(path):
        found = False
        records = take(guarded(reader_for(file).records(file), file), part)
        for frame, _ in reading.frames(file, records, account):
            found = True
            yield frame
        require_frames(found, file, part)


def require_frames(found: bool | int, file: Path, part: str) -> None:
    """Raises DataError if a file, or the slice that was taken of it, has no frames."""
    if not found:
        raise DataError(f"{file}{part or ''}: there are no frames in it.")


def read_records(path: PathLike | Sequence[PathLike]) -> list[Record]:
    """The frames as their files have them, without a word about labels, charge and spin."""
    files = resolve_paths(path)
    return [record for file, part in files for record in take(guarded(reader_for(file).records(file), file), part)]


def resolve_paths(path: PathLike | Sequence[PathLike]) -> list[tuple[Path, str]]:
    """The files that a path, pattern, folder or list stands for, each with its slice of frames (or "").

    Raises:
        DataError: Nothing is there; the message names what is.
    """
    if isinstance(path, (str, Path)):
        return _resolve(str(path))
    return [found for item in path for found in _resolve(str(item))]


def _resolve(text: str) -> list[tuple[Path, str]]:
    match = _SLICE.search(text)
    part = match[0] if match and not Path(text).exists() else ""
    name = text.removesuffix(part)
    base = SHIPPED / name.removeprefix(_PREFIX) if name.startswith(_PREFIX) else Path(name).expanduser()
    if base.is_dir():
        files = sorted(file for file in base.iterdir() if file.is_file() and is_readable(file))
        if not files:
            raise DataError(f"{base}: no file in this folder can be read; known are {', '.join(known_suffixes())}.")
        return [(file, part) for file in files]
    if base.is_file():
        return [(base, part)]
    matches = [Path(file) for file in sorted(glob.glob(str(base), recursive=True))]
    files = [(file, part) for file in matches if file.is_file()]
    if files:
        return files
    if base.is_symlink():
        raise DataError(f"{base}: this link leads to {base.readlink()}, which is not there.")
    raise DataError(f"{base}: there is no such file or folder.{_nearby(base)}")


def _nearby(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f" There is no folder {folder} either (working folder: {Path.cwd()})."
    seen = [file for file in folder.iterdir() if not file.name.startswith(".")]
    names = [file.name for file in seen if file.is_dir() or is_readable(file)]
    if not names:
        return f" The folder {folder} holds no data files."
    return did_you_mean(path.name, names).replace("Known:", f"In {folder} are:")


def take(records: Iterator[Record], part: str) -> Iterable[Record]:
    """The records that a slice such as ``@:200`` or ``@5`` selects, all for an empty one."""
    match = _SLICE.search(part)
    if not match:
        return records
    start, stop, step = (int(number) if number else None for number in match.groups())
    if ":" not in part:
        start, stop = start, (None if start in (None, -1) else start + 1)
    bounds = slice(start, stop, step)
    if any(number is not None and number < 0 for number in (start, stop, step)):
        return list(records)[bounds]
    return islice(records, bounds.start, bounds.stop, bounds.step)


def guarded(records: Iterator[Record], file: Path, first: int = 0) -> Iterator[Record]:
    """The same records with their place; what goes wrong in reading is told as a `DataError` with file and frame.

    Args:
        records: Of one file.
        file: Where they come from.
        first: Place of the first record in the file.
    """
    count = first
    try:
        for record in records:
            record.source, record.frame = source_name(file), count
            yield record
            count += 1
    except _UNREADABLE as error:
        raise DataError(f"{file}: frame {count} can't be read: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):  # its message is nothing but what was looked for
        return f"there is no {error}: a symbol that is no element's, or a column or key that is missing"
    return str(error) or type(error).__name__


def source_name(file: Path) -> str:
    """How messages and reports call a file."""
    return "/".join(file.parts[-2:])


def check_keys(keys: Mapping[str, str | None], read: FrameSet) -> None:
    """Checks that every key that the user named was in some frame.

    Raises:
        DataError: Suggests the nearest key that is there.
    """
    seen = set(read.unused) | {key for key, _ in read.used}
    for key, target in keys.items():
        if key not in seen and target is not None:
            files = ", ".join(file.name for file in read.files)
            raise DataError(f"keys: no frame of {files} has '{key}' (for {target}).{did_you_mean(key, seen)}")
