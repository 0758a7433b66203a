"""Atoms as they were when something was computed: what has changed since, and a copy for who asks.

A copy of ASE's takes as long as a tenth of a small molecule's step, and its comparison as long again, so both are done
on plain arrays.
"""

from __future__ import annotations

import copy
from functools import cached_property

import numpy as np
from ase import Atoms

_OPEN = bytes(3)


class Snapshot:
    """Atoms of a moment.

    Args:
        atoms: May go on changing.

    Attributes:
        positions: To the last bit, as bytes.
        numbers: The same.
        cell: The same.
        pbc: The same.
    """

    def __init__(self, atoms: Atoms):
        arrays = atoms.arrays
        self.positions, self.numbers = arrays["positions"].tobytes(), arrays["numbers"].tobytes()
        self.cell, self.pbc = atoms.cell.array.tobytes(), atoms.pbc.tobytes()
        self._kind, self._arrays = type(atoms), {name: values.copy() for name, values in arrays.items()}
        self._displacement, self._info = atoms.get_celldisp(), dict(atoms.info)
        constraints = atoms.constraints
        self._constraints = copy.deepcopy(constraints) if constraints else []

    @property
    def periodic(self) -> bool:
        """Whether any direction was."""
        return self.pbc != _OPEN

    @cached_property
    def atoms(self) -> Atoms:
        """The same as ``atoms.copy()`` was then."""
        cell, pbc = np.frombuffer(self.cell).reshape(3, 3), np.frombuffer(self.pbc, dtype=bool)
        made = self._kind(cell=cell, pbc=pbc, info=self._info, celldisp=self._displacement)
        made.arrays = self._arrays
        made.constraints = self._constraints
        return made

    def changes(self, atoms: Atoms) -> list[str]:
        """Which of positions, numbers, cell and pbc are others in ``atoms``, to the last bit."""
        arrays, names = atoms.arrays, []
        if arrays["positions"].tobytes() != self.positions:
            names.append("positions")
        if arrays["numbers"].tobytes() != self.numbers:
            names.append("numbers")
        if atoms.cell.array.tobytes() != self.cell:
            names.append("cell")
        if atoms.pbc.tobytes() != self.pbc:
            names.append("pbc")
        return names
