"""Files, folders and lists of them to structures."""

from __future__ import annotations

import glob
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from ase.io.extxyz import XYZError

from eqff.data.atomic_data import AtomicData, fill_missing_labels
from eqff.data.checks import check_frame
from eqff.data.convert import Converter, Multiplicity
from eqff.data.readers import is_readable, reader_for
from eqff.data.records import Record
from eqff.errors import DataError, did_you_mean

PathLike = str | Path
SHIPPED = Path(__file__).parents[1] / "datasets"
"""Where the data sets are that come with eqff; ``shipped:ions/train.extxyz.gz`` is a path in it."""
_PREFIX = "shipped:"
_SLICE = re.compile(r"@(-?\d*)(?::(-?\d*)(?::(-?\d*))?)?$")


@dataclass
class FrameSet:
    """Structures that were read together.

    Attributes:
        frames: In the order of the files.
        files: The files.
        used: How often each (key, field) was read.
        unused: How often each key was seen and not read.
        notes: What was left out and why.
    """

    frames: list[AtomicData] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    used: Counter[tuple[str, str]] = field(default_factory=Counter)
    unused: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)


def read_frames(
    path: PathLike | Sequence[PathLike],
    *,
    keys: Mapping[str, str | None] | None = None,
    units: Mapping[str, str] | None = None,
    total_charge: float | None = None,
    multiplicity: Multiplicity | None = None,
    labels: Sequence[str] | None = None,
    min_distance: float = 0.1,
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

    Raises:
        DataError: A file is missing, empty, broken or of an unknown kind; a frame is impossible (charge and spin state,
            NaN, coinciding atoms); a key does not exist.
    """
    return read_set(
        path,
        keys=keys,
        units=units,
        total_charge=total_charge,
        multiplicity=multiplicity,
        labels=labels,
        min_distance=min_distance,
    ).frames


def read_set(
    path: PathLike | Sequence[PathLike],
    *,
    keys: Mapping[str, str | None] | None = None,
    units: Mapping[str, str] | None = None,
    total_charge: float | None = None,
    multiplicity: Multiplicity | None = None,
    labels: Sequence[str] | None = None,
    min_distance: float = 0.1,
) -> FrameSet:
    """The same as `read_frames`, with an account of what was read from which key."""
    wanted = None if labels is None else tuple(labels)
    result = FrameSet()
    for file, part in resolve_paths(path):
        reader = reader_for(file)
        converter = Converter(
            keys,
            units,
            total_charge,
            multiplicity,
            wanted,
            synonyms=reader.synonyms,
            units_known=reader.has_units,
        )
        before = len(result.frames)
        for record in take(guarded(reader.records(file), file), part):
            frame = converter(record)
            check_frame(frame, min_distance)
            result.frames.append(frame)
        if len(result.frames) == before:
            raise DataError(f"{file}{part or ''}: there are no frames in it.")
        result.files.append(file)
        result.used += converter.used
        result.unused += converter.unused
        result.notes += converter.notes.values()
    check_keys(keys or {}, result)
    fill_missing_labels(result.frames)
    return result


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
            raise DataError(f"{base}: no file in this folder can be read as structures.")
        return [(file, part) for file in files]
    if base.is_file():
        return [(base, part)]
    matches = [Path(file) for file in sorted(glob.glob(str(base), recursive=True))]
    if matches:
        return [(file, part) for file in matches if file.is_file()]
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


def guarded(records: Iterator[Record], file: Path) -> Iterator[Record]:
    """The same records with their place; what goes wrong in reading is told as a `DataError` with file and frame."""
    count = 0
    try:
        for record in records:
            record.source, record.frame = "/".join(file.parts[-2:]), count
            yield record
            count += 1
    except (OSError, EOFError, ValueError, KeyError, IndexError, XYZError) as error:
        raise DataError(f"{file}: frame {count} can't be read: {error or type(error).__name__}") from error


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
