"""ASE databases (SQLite, and LMDB where ase-db-backends is installed), those of SchNetPack among them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from ase.db import connect
from ase.db.core import Database

from eqff.data.keys import recognise
from eqff.data.readers.pieces import Piece
from eqff.data.records import Record, record_from_ase
from eqff.errors import DataError


def read_ase_db(path: Path) -> Iterator[Record]:
    """The rows of a database: results of the calculator, key-value pairs and the ``data`` of a row.

    Units that SchNetPack writes into the metadata are taken; all else is in ASE's.
    """
    return read_rows(path, 0, None)


def read_rows(path: Path, offset: int, limit: int | None) -> Iterator[Record]:
    """So many rows of a database (None: all), after so many others."""
    database = _connect(path)
    metadata = database.metadata or {}
    units = dict(metadata.get("_property_unit_dict", {}))
    if "_distance_unit" in metadata:
        units["positions"] = metadata["_distance_unit"]
    for row in database.select(offset=offset, limit=limit):
        record = record_from_ase(row.toatoms())
        record.units = units
        record.structure.update(row.key_value_pairs)
        for key, value in row.data.items():
            per_atom = np.shape(value)[:1] == (len(record.numbers),) and recognise(key, "structure") is None
            (record.atoms if per_atom else record.structure)[key] = value
        yield record


def split_ase_db(path: Path, size: int) -> list[Piece]:
    """Pieces of at most ``size`` rows."""
    number = _connect(path).count()
    return [Piece(first, partial(read_rows, path, first, size)) for first in range(0, number, size)]


def _connect(path: Path) -> Database:
    try:
        return connect(str(path))
    except ImportError as error:
        raise DataError(
            f"{path}: reading LMDB databases needs the package ase-db-backends: pip install ase-db-backends."
        ) from error
