"""Files that a path, pattern, folder or list stands for, and the slice of frames that is taken of each."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from eqff.data.readers import is_readable, known_suffixes
from eqff.data.records import Record
from eqff.errors import DataError, did_you_mean

PathLike = str | Path
SHIPPED = Path(__file__).parents[1] / "datasets"
"""Where the data sets are that come with eqff; ``shipped:ions/train.extxyz.gz`` is a path in it."""
_PREFIX = "shipped:"
_SLICE = re.compile(r"@(-?\d*)(?::(-?\d*)(?::(-?\d*))?)?$")


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


def source_name(file: Path) -> str:
    """How messages and reports call a file."""
    return "/".join(file.parts[-2:])
