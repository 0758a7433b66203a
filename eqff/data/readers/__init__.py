"""One reader per file format; each yields the records of one file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from eqff.data.readers.extxyz import read_extxyz
from eqff.data.records import Record
from eqff.errors import DataError


@dataclass(frozen=True)
class Reader:
    """How files with some suffixes are read.

    Attributes:
        records: From a path to the frames of the file, one after the other.
        suffixes: Ends of file names.
        keys: Keys that this format uses for fields, besides those common to all formats.
    """

    records: Callable[[Path], Iterator[Record]]
    suffixes: tuple[str, ...]
    keys: Mapping[str, str] = field(default_factory=dict)


READERS = (Reader(read_extxyz, (".extxyz", ".xyz", ".extxyz.gz", ".xyz.gz")),)


def reader_for(path: Path) -> Reader:
    """The reader of a file, by the end of its name.

    Raises:
        DataError: No reader knows it; the message lists what can be read.
    """
    name = path.name.lower()
    for reader in READERS:
        if name.endswith(reader.suffixes):
            return reader
    known = ", ".join(suffix for reader in READERS for suffix in reader.suffixes)
    raise DataError(f"{path}: files of this kind can't be read. Known are {known}, and folders of them.")


def is_readable(path: Path) -> bool:
    """Whether some reader knows files of this name."""
    return path.name.lower().endswith(tuple(suffix for reader in READERS for suffix in reader.suffixes))
