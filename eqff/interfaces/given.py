"""What is said about a structure besides its geometry, and checks of all that goes into a calculation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms

from eqff.data.atomic_data import AtomicData
from eqff.data.atoms import from_atoms
from eqff.data.convert import Multiplicity
from eqff.data.graph import FRAGMENTS
from eqff.errors import DataError, ModelError
from eqff.interfaces.state import STATE, is_external, is_input, require_state, stated, stated_field, surroundings

_REMEDY = (
    "Say it on the structure, atoms.info.update(total_charge=0, multiplicity=1), or for all structures, "
    "model.calculator(total_charge=0, multiplicity=1)"
)
_FRAGMENTS = frozenset(FRAGMENTS)


class Given(NamedTuple):
    """What holds for all structures.

    Attributes:
        total_charge: e; None where each says its own.
        multiplicity: 2S+1, or "lowest"; None where each says its own.
        electric_field: V/Å; None where each says its own, or there is none.
    """

    total_charge: float | None
    multiplicity: Multiplicity | None
    electric_field: tuple[float, ...] | None

    def said(self, info: dict[str, Any]) -> tuple[Any, ...]:
        """All that is said about charge, spin and an external field, to notice when it changes."""
        if not info:
            return self
        return (*sorted((key, _digits(value)) for key, value in info.items() if is_input(key)), *self)

    def structure(self, atoms: Atoms) -> AtomicData:
        """Elements, geometry, charge, spin and field of ``atoms``, settled and checked.

        Raises:
            DataError: Charge or multiplicity are nowhere given or impossible.
            ModelError: What is given here, the structure says otherwise.
        """
        require_geometry(atoms)
        info = stated(atoms.info)
        require_state(info, self.total_charge, self.multiplicity, "the structure", _REMEDY)
        info |= self._surroundings(atoms)
        bare = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc, info=info)
        for name in fragments_said(atoms.arrays):
            bare.set_array(name, atoms.arrays[name])
        data = from_atoms(bare, total_charge=self.total_charge, multiplicity=self.multiplicity, labels=())
        for name, given in zip(STATE, (self.total_charge, self.multiplicity), strict=True):
            if given is not None and given != "lowest" and float(given) != float(data[name]):
                raise ModelError(
                    f"The calculator was given {name}={given}, but atoms.info says {float(data[name]):g}. Give it in "
                    "one place only."
                )
        return data

    def _surroundings(self, atoms: Atoms) -> dict[str, Any]:
        """What the structure says about external charges and an external field, else the field that is given."""
        own = surroundings(atoms.info)
        if self.electric_field is None:
            return own
        for key, value in stated_field(own).items():
            if not np.array_equal(np.ravel(value), self.electric_field):
                raise ModelError(
                    f"The calculator was given electric_field={list(self.electric_field)}, but atoms.info['{key}'] is "
                    f"{np.ravel(value).tolist()}. Give it in one place only."
                )
        return {**own, "electric_field": self.electric_field}


def fragments_said(arrays: Mapping[str, np.ndarray]) -> dict[str, bytes]:
    """What a structure's ``arrays`` say about its fragments, to notice when it changes."""
    if _FRAGMENTS.isdisjoint(arrays):  # as in most trajectories
        return {}
    return {name: arrays[name].tobytes() for name in FRAGMENTS if name in arrays}


def without_external(said: tuple[Any, ...]) -> tuple[Any, ...]:
    """What `Given.said` says but for external charges."""
    return tuple(entry for entry in said if not (isinstance(entry, tuple) and is_external(entry[0])))


def _digits(value: Any) -> tuple[Any, ...]:
    """All of a value, to compare: how arrays are printed is the user's to choose."""
    if isinstance(value, (int, float)):
        return (value,)
    array = np.asarray(value)
    return (array.tobytes(), array.dtype.str, array.shape) if array.dtype.kind in "biuf" else (str(array.tolist()),)


def field_vector(value: Any) -> tuple[float, ...]:
    """Three finite numbers, in V/Å; raises ModelError for anything else."""
    array = np.asarray(value, dtype=float)
    if array.shape != (3,) or not np.isfinite(array).all():
        raise ModelError(f"electric_field is {value!r}, but needs three finite numbers in V/Å, such as [0, 0, 0.1].")
    return tuple(array.tolist())


def require_geometry(atoms: Atoms) -> None:
    """Raises DataError where there is nothing to compute, or no numbers to compute with."""
    positions, cell = atoms.positions, atoms.cell.array
    if len(positions) == 0:
        raise DataError("The structure has no atoms: there is nothing to compute.")
    if finite(positions) and finite(cell):
        return
    bad = np.flatnonzero(~np.isfinite(positions).all(axis=1))
    if len(bad):
        first = int(bad[0])
        raise DataError(
            f"The position of atom {first} ({atoms[first].symbol}) is {positions[first].tolist()}, and {len(bad)} of "
            f"{len(atoms)} atoms have positions that are not finite numbers. What moved them went wrong before."
        )
    if not np.isfinite(cell).all():
        raise DataError(f"The cell {cell.tolist()} holds numbers that are not finite.")


def finite(array: np.ndarray) -> bool:
    """Whether all are numbers, and finite; False also where some are so large that each has to be looked at."""
    return math.isfinite(np.vdot(array, array))
