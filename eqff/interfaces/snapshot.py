"""Atoms as they were when something was computed: what has changed since, and a copy for who asks.

A copy of ASE's takes as long as a tenth of a small molecule's step, and its comparison as long again, so both are done
on plain arrays.
"""

from __future__ import annotations

import copy
from functools import cached_property

from ase import Atoms


class Snapshot:
    """Atoms of a moment.

    Args:
        atoms: May go on changing.
    """

    def __init__(self, atoms: Atoms):
        self._kind = type(atoms)
        self._arrays = {name: values.copy() for name, values in atoms.arrays.items()}
        self._cell, self._pbc = atoms.cell.array.copy(), atoms.pbc.copy()
        self._displacement = atoms.get_celldisp().copy()
        self._info = dict(atoms.info)
        constraints = atoms.constraints
        self._constraints = copy.deepcopy(constraints) if constraints else []
        self._watched = _watched(atoms)

    @cached_property
    def atoms(self) -> Atoms:
        """The same as ``atoms.copy()`` was then."""
        made = self._kind(cell=self._cell, pbc=self._pbc, info=self._info, celldisp=self._displacement)
        made.arrays = self._arrays
        made.constraints = self._constraints
        return made

    def changes(self, atoms: Atoms) -> list[str]:
        """Which of positions, numbers, cell and pbc are others in ``atoms``, to the last bit."""
        now = _watched(atoms)
        return [] if now == self._watched else [name for name in now if now[name] != self._watched[name]]


def _watched(atoms: Atoms) -> dict[str, bytes]:
    arrays = atoms.arrays
    return {
        "positions": arrays["positions"].tobytes(),
        "numbers": arrays["numbers"].tobytes(),
        "cell": atoms.cell.array.tobytes(),
        "pbc": atoms.pbc.tobytes(),
    }
