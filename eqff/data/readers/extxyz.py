"""Extended XYZ, plain or compressed."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from pathlib import Path

from ase.io.extxyz import read_xyz

from eqff.data.records import Record, record_from_ase


def read_extxyz(path: Path) -> Iterator[Record]:
    """The frames of an extxyz file.

    A compressed file is unpacked in memory first: ASE looks for frames by seeking, and on a gzip stream that made
    reading about 30 times slower.
    """
    raw = path.read_bytes()
    text = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode()
    for atoms in read_xyz(io.StringIO(text), index=slice(None)):
        yield record_from_ase(atoms)
