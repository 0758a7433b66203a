"""What a reader hands over: one structure with everything that its file says about it, not interpreted yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms

_STRUCTURE_OF_ASE = ("numbers", "positions", "initial_charges", "initial_magmoms", "tags", "masses", "momenta")
_PER_ATOM_OF_ASE = ("forces", "stresses", "charges", "magmoms", "energies", "born_effective_charges")


@dataclass
class Record:
    """One frame as its file has it.

    Attributes:
        numbers: Atomic numbers, (N,).
        positions: (N, 3), in the file's unit.
        cell: Lattice vectors as rows, (3, 3), in the file's unit.
        pbc: (3,) bool.
        structure: Values per structure by the file's keys.
        atoms: Values per atom by the file's keys, (N, ...).
        units: Units that the file itself states, by its keys (``positions`` for lengths of the structure).
        source: File name.
        frame: Place in the file, from 0.
        ase: The same with masses, momenta and constraints, where ASE has read it.
    """

    numbers: np.ndarray
    positions: np.ndarray
    cell: np.ndarray
    pbc: np.ndarray
    structure: dict[str, Any] = field(default_factory=dict)
    atoms: dict[str, np.ndarray] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    frame: int = 0
    ase: Atoms | None = None

    @property
    def place(self) -> str:
        """For messages."""
        return f"{self.source or 'structure'}, frame {self.frame}"

    def value(self, key: str) -> Any:
        """What stands under a key, per structure or per atom."""
        return self.structure[key] if key in self.structure else self.atoms[key]

    def keys_text(self) -> str:
        """All keys of the frame, for messages."""
        per_structure = ", ".join(sorted(self.structure)) or "none"
        return f"keys per structure: {per_structure}; per atom: {', '.join(sorted(self.atoms)) or 'none'}"


def record_from_ase(atoms: Atoms) -> Record:
    """A record of an ASE structure: ``info``, ``arrays`` and the results of an attached single-point calculator."""
    structure = dict(atoms.info)
    per_atom = {key: value for key, value in atoms.arrays.items() if key not in _STRUCTURE_OF_ASE}
    results = getattr(atoms.calc, "results", {}) if atoms.calc is not None else {}
    for key, value in results.items():
        if value is not None:
            (per_atom if key in _PER_ATOM_OF_ASE else structure).setdefault(key, value)
    return Record(
        numbers=atoms.numbers,
        positions=atoms.positions,
        cell=np.asarray(atoms.cell.array),
        pbc=np.asarray(atoms.pbc),
        structure=structure,
        atoms=per_atom,
        ase=atoms,
    )
