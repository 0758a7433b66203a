"""ASE databases (SQLite, and LMDB where ase-db-backends is installed), those of SchNetPack among them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ase.db import connect

from eqff.data.keys import recognise
from eqff.data.records import Record, record_from_ase


def read_ase_db(path: Path) -> Iterator[Record]:
    """The rows of a database: results of the calculator, key-value pairs and the ``data`` of a row.

    Units that SchNetPack writes into the metadata are taken; all else is in ASE's.
    """
    database = connect(str(path))
    metadata = database.metadata or {}
    units = dict(metadata.get("_property_unit_dict", {}))
    if "_distance_unit" in metadata:
        units["positions"] = metadata["_distance_unit"]
    for row in database.select():
        record = record_from_ase(row.toatoms())
        record.units = units
        record.structure.update(row.key_value_pairs)
        for key, value in row.data.items():
            per_atom = np.shape(value)[:1] == (len(record.numbers),) and recognise(key, "structure") is None
            (record.atoms if per_atom else record.structure)[key] = value
        yield record
