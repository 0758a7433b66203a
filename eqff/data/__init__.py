"""From files to batches of atomic graphs.

The names listed here can be imported from ``eqff.data``; what they need is loaded at first use, so that importing
``eqff.data.fields`` or ``eqff.data.graph`` alone stays quick.
"""

from __future__ import annotations

import importlib
from typing import Any

_PLACES = {
    "AtomicData": "atomic_data",
    "AtomicDataModule": "module",
    "DatasetReport": "report",
    "add_neighbours": "neighbours",
    "check_set": "set_checks",
    "collate": "batching",
    "from_atoms": "atoms",
    "make_report": "summary",
    "read_frames": "reading",
    "to_atoms": "atoms",
}
__all__ = list(_PLACES)


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'eqff.data' has no attribute '{name}'")
    return getattr(importlib.import_module(f"eqff.data.{_PLACES[name]}"), name)
