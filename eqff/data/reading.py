"""From files to structures."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

from ase.io.extxyz import XYZError

from eqff.data.account import Account, FrameSet, check_keys, note_missing_keys
from eqff.data.atomic_data import AtomicData, fill_missing_labels
from eqff.data.checks import check_frame
from eqff.data.convert import Converter, Multiplicity
from eqff.data.levels import Levels, require_files, stated_level, with_level
from eqff.data.paths import PathLike, resolve_paths, source_name, take
from eqff.data.readers import Reader, reader_for
from eqff.data.records import Record
from eqff.errors import DataError

_UNREADABLE = (OSError, EOFError, ValueError, KeyError, IndexError, XYZError, BadZipFile, zlib.error, sqlite3.Error)
"""What readers raise on broken files."""


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
    require_files(level_of_theory, (file for file, _ in resolve_paths(path)))
    return read_set(path, reading).frames


def read_set(
    path: PathLike | Sequence[PathLike], reading: Reading | None = None, *, every_key: bool = True
) -> FrameSet:
    """The same as `read_frames`, with an account of what was read from which key.

    Args:
        path: See `read_frames`.
        reading: What is made of the files.
        every_key: Whether a key that the user named and no frame has is an error; else it is noted in the account.
    """
    reading, result = reading or Reading(), FrameSet()
    result.frames = list(iterate_frames(path, reading, result.account))
    result.files = [file for file, _ in resolve_paths(path)]
    (check_keys if every_key else note_missing_keys)(reading.keys or {}, result)
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
