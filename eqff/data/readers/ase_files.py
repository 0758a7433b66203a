"""Other files that ASE reads: trajectories, and structures without labels to start a simulation from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ase.io import iread
from ase.io.formats import UnknownFileTypeError

from eqff.data.records import Record, record_from_ase


def read_ase_file(path: Path) -> Iterator[Record]:
    """The frames of a file of which ASE knows the format by its name or content.

    Raises:
        ValueError: ASE doesn't know it, or it is empty.
    """
    try:
        for atoms in iread(path, index=":"):
            yield record_from_ase(atoms)
    except UnknownFileTypeError as error:
        raise ValueError(f"ASE can't tell what it is: {error}") from error
