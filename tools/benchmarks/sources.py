"""Which eqff was measured: numbers of one code say nothing of another."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import version
from pathlib import Path

import eqff
from eqff.config import config_directory

SUFFIXES = (".py", ".cpp", ".h", ".yaml")


@cache
def digest() -> str:
    """Of all code and settings of eqff that a measurement follows from, 64 hexadecimal digits."""
    roots = (Path(eqff.__file__).parent, config_directory())
    files = sorted({path for root in roots for path in root.rglob("*") if path.suffix in SUFFIXES})
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def code() -> str:
    """Version, code and torch in a word, as results have it."""
    return f"eqff {version('eqff')} ({digest()[:8]}), torch {version('torch')}"
