"""Reference cases as they lie on disk, schema ``eqff-reference/1``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from eqff.errors import DataError

SCHEMA = "eqff-reference/1"
_KEYS = ("id", "system", "parameters", "results", "tolerance")


@dataclass(frozen=True)
class Quantity:
    """One number or array that eqff computed for a case.

    Attributes:
        name: As in the case's ``results``; what is computed for a scan is called ``scan.KEY``.
        value: What eqff gives.
        expected: What the case says, by default ``results[name]``.
        tolerance_of: The quantity whose tolerance it has, where the case gives it none of its own.
    """

    name: str
    value: Any
    expected: Any = field(default=None)
    tolerance_of: str | None = None


@dataclass(frozen=True)
class ReferenceCase:
    """One case.

    Attributes:
        identifier: ``topic/name``.
        path: The file.
        atoms: The system, with ``total_charge`` and ``multiplicity`` in ``info`` where the case gives them.
        parameters: What the layer needs.
        results: Reference values by name.
        tolerance: Allowed deviation by name, or one relative one for all.
    """

    identifier: str
    path: Path
    atoms: Atoms
    parameters: dict[str, Any]
    results: dict[str, Any]
    tolerance: dict[str, Any]

    @property
    def topic(self) -> str:
        """The part of the identifier before the slash."""
        return self.identifier.split("/")[0]


def find_cases(paths: Iterable[str | Path]) -> list[ReferenceCase]:
    """All cases among files and folders, sorted by place.

    Raises:
        DataError: A path does not exist, holds no case, or a file is not of the schema.
    """
    cases = []
    for path in map(Path, paths):
        if not path.exists():
            raise DataError(f"There is no '{path}'. Give reference cases (.json) or folders of them.")
        files = [path] if path.is_file() else sorted(path.rglob("*.json"))
        if not files:
            raise DataError(f"The folder '{path}' holds no reference case (.json).")
        cases += [read_case(file) for file in files]
    return cases


def read_case(path: Path) -> ReferenceCase:
    """One case from its file.

    Raises:
        DataError: The file is not JSON, or not of the schema.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}") from error
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema != SCHEMA:
        raise DataError(f"{path} is not a reference case: its schema is {schema!r}, not '{SCHEMA}'.")
    absent = [key for key in _KEYS if key not in content]
    if absent:
        raise DataError(f"{path} is not a whole reference case: {', '.join(absent)} missing.")
    try:
        atoms = _atoms(content["system"])
    except (KeyError, ValueError) as error:
        raise DataError(f"The system of {path} is no structure: {error}") from error
    return ReferenceCase(
        identifier=content["id"],
        path=path,
        atoms=atoms,
        parameters=content["parameters"],
        results=content["results"],
        tolerance=content["tolerance"],
    )


def _atoms(system: dict[str, Any]) -> Atoms:
    cell, numbers = system.get("cell"), system.get("numbers")
    pbc = system.get("pbc")
    atoms = Atoms(
        system.get("symbols", []) if numbers is None else numbers,
        positions=np.reshape(system.get("positions", []), (-1, 3)),
        cell=np.zeros((3, 3)) if cell is None else cell,
        pbc=False if pbc is None else pbc,
    )
    given = {"total_charge": system.get("charge"), "multiplicity": system.get("multiplicity")}
    atoms.info.update({key: value for key, value in given.items() if value is not None})
    return atoms
