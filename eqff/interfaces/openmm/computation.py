"""What OpenMM calls at every step: from positions of particles to energy and forces by a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms

from eqff.data.external import CHARGES, EXTERNAL_FORCES, EXTERNAL_POTENTIAL, POSITIONS, WIDTHS
from eqff.interfaces.ase import EqffCalculator
from eqff.interfaces.openmm.cells import whole
from eqff.interfaces.openmm.package import ANGSTROM_PER_NM, KJ_PER_MOL, openmm
from eqff.interfaces.openmm.surroundings import Surroundings


class ModelComputation:
    """A function from OpenMM's ``State`` to energy and forces; can be pickled, as OpenMM copies and saves systems.

    Args:
        calculator: Settings of `EqffCalculator`, the model among them as ``potential``.
        numbers: Atomic numbers of the model's atoms.
        region: Their places among the positions that are given; None for all, in their order.
        boxed: Whether positions are in OpenMM's periodic box.
        cell: Whether the model is periodic in it too; if not, the region is taken out of it as one piece.
        surroundings: Other particles, as external charges; None for none.
    """

    def __init__(
        self,
        calculator: Mapping[str, Any],
        numbers: Sequence[int],
        region: Sequence[int] | None = None,
        boxed: bool = False,
        cell: bool = False,
        surroundings: Surroundings | None = None,
    ):
        self._settings = dict(calculator)
        self._numbers = np.array(numbers)
        self._region = np.arange(len(self._numbers)) if region is None else np.array(region)
        self._boxed, self._cell, self._surroundings = boxed, cell, surroundings
        self.calculator = EqffCalculator(**self._settings)

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        # with the model itself: a file or a name may be gone where it is read
        settings = self._settings | {"potential": self.calculator.potential, "corrections": False}
        return type(self), (settings, self._numbers, self._region, self._boxed, self._cell, self._surroundings)

    def __call__(self, state: Any) -> tuple[float, np.ndarray]:
        """Energy in kJ/mol and forces (n, 3) in kJ/mol/nm on the particles that ``state`` has."""
        unit = openmm().unit
        positions = state.getPositions(asNumpy=True).value_in_unit(unit.angstrom)
        box = None  # without boundary conditions states have one too, of any size
        if self._boxed:
            box = np.array(state.getPeriodicBoxVectors(asNumpy=True).value_in_unit(unit.angstrom))
        energy, forces = self.in_ev(np.array(positions), box)
        return energy * KJ_PER_MOL, forces * (KJ_PER_MOL * ANGSTROM_PER_NM)

    def in_ev(self, positions: np.ndarray, box: np.ndarray | None) -> tuple[float, np.ndarray]:
        """Energy in eV and forces in eV/Å, (n, 3).

        Args:
            positions: Å, (n, 3).
            box: Lattice vectors as rows in Å, (3, 3); None where nothing is periodic.
        """
        region = positions[self._region]
        if self._cell:
            atoms = Atoms(self._numbers, region, cell=box, pbc=True)
        else:
            atoms = Atoms(self._numbers, whole(region, box))
        forces = np.zeros_like(positions)
        if self._surroundings is None:
            results = self._results(atoms)
        else:
            around = self._surroundings.around(atoms.positions, positions, box)
            atoms.info |= {POSITIONS: around.positions, CHARGES: around.charges, WIDTHS: around.widths}
            results = self._results(atoms)
            if len(around.charges):
                forces += around.forces(results[EXTERNAL_FORCES], results[EXTERNAL_POTENTIAL], len(positions))
        forces[self._region] += results["forces"]
        return results["energy"], forces

    def _results(self, atoms: Atoms) -> dict[str, Any]:
        self.calculator.calculate(atoms, ("energy", "forces"))
        return self.calculator.results
