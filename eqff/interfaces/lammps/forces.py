"""What LAMMPS' ``fix external`` calls at every step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from eqff.errors import ConfigError, DataError
from eqff.interfaces.lammps.box import Unwrapped, box_of
from eqff.interfaces.lammps.ranks import Ranks
from eqff.interfaces.lammps.units import Units

_XX_YY_ZZ_XY_XZ_YZ = [0, 1, 2, 5, 4, 3]
"""LAMMPS' order of a tensor's components, among ASE's (xx, yy, zz, yz, xz, xy)."""


@dataclass(frozen=True)
class Found:
    """What the model says about one geometry, in LAMMPS' units.

    Attributes:
        tags: IDs of the atoms, ascending, (N,).
        energy: Of the whole structure.
        forces: (N, 3).
        virial: (6,) in LAMMPS' order; None where LAMMPS didn't ask for it.
        charges: e, (N,); None where they are not written.
    """

    tags: np.ndarray
    energy: float
    forces: np.ndarray
    virial: np.ndarray | None
    charges: np.ndarray | None


class ExternalForces:
    """Computes a structure for LAMMPS; made by `eqff.interfaces.lammps.attach`.

    Args:
        lmp: LAMMPS.
        calculator: On the first process.
        numbers: Atomic number of each type, beginning with type 0, which doesn't exist.
        units: LAMMPS'.
        ranks: LAMMPS' processes.
        fix: ID of the fix.
        write_charges: Whether predicted charges become LAMMPS'.

    Attributes:
        calculator: The same.
        failure: What went wrong; no run goes on after that.
    """

    def __init__(
        self,
        lmp: Any,
        calculator: Calculator | None,
        numbers: np.ndarray,
        units: Units,
        ranks: Ranks,
        fix: str,
        write_charges: bool,
    ):
        self.calculator = calculator
        self.failure: BaseException | None = None
        self._lmp, self._numbers, self._units, self._ranks, self._fix = lmp, numbers, units, ranks, fix
        self._write_charges = write_charges
        self._unwrapped = Unwrapped()

    def __call__(
        self, _caller: Any, step: int, count: int, tags: np.ndarray, positions: np.ndarray, forces: np.ndarray
    ) -> None:
        """LAMMPS' call.

        Args:
            step: Of the run.
            count: Atoms of this process.
            tags: Their IDs, (count,).
            positions: Theirs in LAMMPS' units, (count, 3).
            forces: To be filled, (count, 3).
        """
        # an exception can't pass through LAMMPS, which would go on with the forces of before
        try:
            self._step(int(step), count, tags, positions, forces)
        except BaseException as error:  # noqa: BLE001
            self.failure = error
            self._stop(f"{type(error).__name__}: {error}", forces, count)

    def _step(self, step: int, count: int, tags: np.ndarray, positions: np.ndarray, forces: np.ndarray) -> None:
        parts = self._ranks.gather(self._own(count, tags, positions))
        found = self._ranks.share(None if parts is None else self._found_or_reason(step, parts))
        if isinstance(found, str):
            self.failure = self.failure or RuntimeError(found)  # the exception itself is where it was raised
            self._stop(found, forces, count)
            return
        self._lmp.fix_external_set_energy_global(self._fix, found.energy)
        if found.virial is not None:
            # the whole on every process: LAMMPS takes the share of each
            self._lmp.fix_external_set_virial_global(self._fix, found.virial)
        if not count:
            return
        place = np.searchsorted(found.tags, tags)
        forces[:count] = found.forces[place]
        self._leave_atoms_open(step, count)
        if found.charges is not None:
            self._lmp.numpy.extract_atom("q")[:count] = found.charges[place]

    def _own(self, count: int, tags: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, ...]:
        """IDs, types and positions of this process' atoms; copies, as LAMMPS' arrays are its own."""
        if not count:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros((0, 3))
        return np.array(tags), np.array(self._lmp.numpy.extract_atom("type")[:count]), np.array(positions)

    def _found_or_reason(self, step: int, parts: list[tuple[np.ndarray, ...]]) -> Found | str:
        # the other processes wait for an answer
        try:
            if self.failure is not None:
                raise self.failure
            return self._found(step, *map(np.concatenate, zip(*parts, strict=True)))
        except BaseException as error:  # noqa: BLE001
            self.failure = error
            return f"{type(error).__name__}: {error}"

    def _found(self, step: int, tags: np.ndarray, types: np.ndarray, positions: np.ndarray) -> Found:
        order = np.argsort(tags)
        tags = tags[order]
        if len(tags) and (tags[0] < 1 or (tags[1:] == tags[:-1]).any()):
            raise DataError("LAMMPS' atoms have no IDs of their own: use 'atom_modify id yes', LAMMPS' default.")
        units = self._units
        box = box_of(*self._lmp.extract_box()[:6], length=units.length)
        places = self._unwrapped(tags, positions[order] * units.length, box)
        atoms = Atoms(self._numbers[types[order]], places, cell=box.cell, pbc=box.pbc)
        wanted = self._wanted(step)
        self.calculator.calculate(atoms, wanted, all_changes)
        results = self.calculator.results
        virial = -results["stress"] * atoms.cell.volume / units.energy if "stress" in wanted else None
        return Found(
            tags,
            float(results["energy"]) / units.energy,
            np.asarray(results["forces"], dtype=np.float64) / units.force,
            None if virial is None else virial[_XX_YY_ZZ_XY_XZ_YZ],
            self._charges(results) if self._write_charges else None,
        )

    def _wanted(self, step: int) -> list[str]:
        stress, charges = self._asked("vflag_global", step), self._write_charges
        return ["energy", "forces", *["stress"] * stress, *["charges"] * charges]

    def _charges(self, results: dict[str, Any]) -> np.ndarray:
        if "charges" not in results:
            raise ConfigError("write_charges: this model predicts no charges.")
        return np.asarray(results["charges"], dtype=np.float64)

    def _asked(self, flag: str, step: int) -> bool:
        """Whether LAMMPS wants something at this step; True where its version can't tell."""
        last = self._lmp.extract_global(flag)
        return last is None or last == step

    def _leave_atoms_open(self, step: int, count: int) -> None:
        """Energies and stresses of single atoms: the model has none, and 0 would look like one."""
        if self._lmp.extract_global("eflag_atom") == step:
            self._lmp.fix_external_set_energy_peratom(self._fix, [np.nan] * count)
        if self._lmp.extract_global("vflag_atom") == step:
            self._lmp.fix_external_set_virial_peratom(self._fix, [[np.nan] * 6] * count)

    def _stop(self, reason: str, forces: np.ndarray, count: int) -> None:
        """Ends the run: LAMMPS' command raises the reason."""
        if count:
            forces[:count] = 0.0
        self._lmp.fix_external_set_energy_global(self._fix, float("nan"))
        self._lmp.force_timeout()
        # LAMMPS' command raises where its library met an error that nobody has looked at, and the message of this one
        # says the name. Called past the module's check, which would raise here, within LAMMPS, and forget it;
        # `lammps_error` would end the process.
        name = f"{self._fix}: {reason}".encode()
        self._lmp.lib.lammps_fix_external_set_energy_global(self._lmp.lmp, name, 0.0)
