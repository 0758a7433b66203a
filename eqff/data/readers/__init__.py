"""One reader per file format; each yields the records of one file."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from eqff.data.readers.arrays import SYNONYMS
from eqff.data.readers.ase_db import read_ase_db, split_ase_db
from eqff.data.readers.ase_files import read_ase_file
from eqff.data.readers.extxyz import read_extxyz, split_extxyz
from eqff.data.readers.hdf5 import read_hdf5, split_hdf5
from eqff.data.readers.npz import read_npz
from eqff.data.readers.pieces import Piece
from eqff.data.records import Record
from eqff.errors import ConfigError, DataError
from eqff.packages import declared


@dataclass(frozen=True)
class Reader:
    """How files with some suffixes are read.

    Attributes:
        records: From a path to the frames of the file, one after the other.
        suffixes: Ends of file names.
        synonyms: Keys that this format uses for fields, besides those common to all formats.
        has_units: Whether the format comes with units, ASE's; if not, they have to be stated.
        split: From a path and a number to pieces of at most that many frames, which several processes can read at
            once; None where a file can be read from its beginning only.
    """

    records: Callable[[Path], Iterator[Record]]
    suffixes: tuple[str, ...]
    synonyms: Mapping[str, str] = field(default_factory=dict)
    has_units: bool = True
    split: Callable[[Path, int], list[Piece]] | None = None

    def pieces(self, path: Path, size: int) -> list[Piece]:
        """The file in pieces of at most ``size`` frames where it can be split, else in one."""
        return [Piece(0, partial(self.records, path))] if self.split is None else self.split(path, size)


READERS = (
    Reader(read_extxyz, (".extxyz", ".xyz", ".extxyz.gz", ".xyz.gz"), split=split_extxyz),
    Reader(read_ase_db, (".db", ".aselmdb"), split=split_ase_db),
    Reader(read_hdf5, (".h5", ".hdf5"), SYNONYMS, has_units=False, split=split_hdf5),
    Reader(read_ase_file, (".traj", ".cif", ".pdb", ".vasp", "poscar", "contcar", ".gen", ".mol", ".sdf")),
    Reader(read_npz, (".npz",), SYNONYMS, has_units=False),
)


def known_readers() -> tuple[Reader, ...]:
    """All readers: first those that packages of users declare as ``READERS`` (see `eqff.packages`), then eqff's.

    Raises:
        ConfigError: A package can't be imported, or declares something else.
    """
    own = tuple(declared("READERS"))
    for reader in own:
        if not isinstance(reader, Reader):
            raise ConfigError(f"READERS of a package holds {reader!r}, but must hold eqff.data.readers.Reader only.")
    return own + READERS


def reader_for(path: Path) -> Reader:
    """The reader of a file, by the end of its name.

    Raises:
        DataError: No reader knows it; the message lists what can be read.
    """
    name = path.name.lower()
    for reader in known_readers():
        if name.endswith(reader.suffixes):
            return reader
    raise DataError(
        f"{path}: files of this kind can't be read. Known are {', '.join(known_suffixes())}, and folders of them."
    )


def reader_identity(path: Path) -> str:
    """What tells readers apart: nothing for eqff's own, the hash of its module's source for one of a package."""
    reader = reader_for(path)
    if reader in READERS:
        return ""
    function = getattr(reader.records, "func", reader.records)  # of a partial
    source = Path(str(sys.modules[function.__module__].__file__))
    return hashlib.blake2b(source.read_bytes(), digest_size=20).hexdigest()


def is_readable(path: Path) -> bool:
    """Whether some reader knows files of this name."""
    return path.name.lower().endswith(known_suffixes())


def known_suffixes() -> tuple[str, ...]:
    """Ends of the names of all files that can be read."""
    return tuple(suffix for reader in known_readers() for suffix in reader.suffixes)
