"""Which data a run has trained and tested on, in so few numbers that two runs can be told apart by them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ase.data import chemical_symbols

from eqff.data.set_hash import with_sizes

_ABOUT, _REPORT = "run.json", "data_report.json"
_SAYS_WHERE_SETS_END = 2  # the format of run folders from which on the hash of the data does
_PARTS = ("train", "val", "test")
_LABEL_NUMBERS = ("frames", "minimum", "maximum", "rms")


@dataclass(frozen=True)
class DataIdentity:
    """What has to agree before errors of two runs are compared.

    Attributes:
        data_hash: Of the content of training and validation set; None where it is not known.
        split: Hash of the indices of the split, None where it is not known.
        level_of_theory: Of the model's energies; empty where none was declared, None where it is not known.
        reference_energies: E0 by element symbol in eV.
        sets: By set: what is in it (``frames``, ``elements``, ``states``), and of each label its numbers.
    """

    data_hash: str | None = None
    split: str | None = None
    level_of_theory: str | None = None
    reference_energies: Mapping[str, float] = field(default_factory=dict)
    sets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: str | Path) -> DataIdentity:
        """From the files ``data_report.json``, ``splits.json`` and ``run.json`` of a run folder; what they lack is not
        known.

        Raises:
            ValueError: One of them is no JSON.
        """
        report, split = (_read(Path(folder) / name) for name in (_REPORT, "splits.json"))
        reference = report.get("reference_energies") or {}
        found = cls(
            data_hash=report.get("data_hash"),
            split=_split_hash(split) if split else None,
            level_of_theory=reference.get("level_of_theory"),
            reference_energies={chemical_symbols[int(z)]: float(e) for z, e in (reference.get("eV") or {}).items()},
            sets={name: set_identity(content) for name, content in (report.get("sets") or {}).items()},
        )
        return found.of_format(_read(Path(folder) / _ABOUT).get("format", 0))

    def of_format(self, run_format: int) -> DataIdentity:
        """The same as today's eqff would have noted it, of a run in an earlier format.

        Args:
            run_format: Of the run, see `eqff.tracking.run_format`.
        """
        return replace(self, data_hash=_todays_hash(self.data_hash, run_format, self.sets))

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> DataIdentity:
        """From what `to_dict` gave; what is unknown to this version is left out."""
        return cls(**{name: content[name] for name in cls.__dataclass_fields__ if name in content})

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def stored_hash(folder: str | Path) -> str | None:
    """The hash of a run's training and validation set that its ``run.json`` holds, as `content_hash` gives it today.

    Args:
        folder: Of the run.

    Returns:
        None where it is not known.
    """
    about = _read(Path(folder) / _ABOUT)
    data_hash, run_format = about.get("data_hash"), about.get("format", 0)
    if run_format >= _SAYS_WHERE_SETS_END:
        return data_hash
    return _todays_hash(data_hash, run_format, _read(Path(folder) / _REPORT).get("sets") or {})


def _todays_hash(data_hash: str | None, run_format: int, sets: Mapping[str, Mapping[str, Any]]) -> str | None:
    if data_hash is None or run_format >= _SAYS_WHERE_SETS_END or "train" not in sets:
        return data_hash
    return with_sizes(data_hash, [sets.get(name, {}).get("frames", 0) for name in ("train", "val")])


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _split_hash(split: Mapping[str, Any]) -> str:
    indices = json.dumps([split.get(name, []) for name in _PARTS])
    return hashlib.sha256(indices.encode()).hexdigest()


def set_identity(content: Mapping[str, Any]) -> dict[str, Any]:
    """What is in a set, from its `eqff.data.report.DatasetReport` as plain values."""
    labels = {
        row["name"]: {name: row.get(name) for name in _LABEL_NUMBERS}
        for row in content.get("labels", ())
        if row.get("frames")
    }
    return {name: content.get(name) for name in ("frames", "elements", "states")} | {"labels": labels}
