"""One step at a time, whether of molecular dynamics or of a relaxation."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from ase import Atoms, units
from ase.filters import FrechetCellFilter
from ase.md.md import MolecularDynamics
from ase.optimize import BFGS, FIRE, LBFGS
from ase.optimize.optimize import Optimizer

from eqff.simulation.ensembles import Conserved, choose_integrator
from eqff.simulation.settings import SimulationSettings

OPTIMIZERS: dict[str, type[Optimizer]] = {"lbfgs": LBFGS, "bfgs": BFGS, "fire": FIRE}
_CELL_FILTERS = {"isotropic": {"hydrostatic_strain": True}, "full": {}, "constant_volume": {"constant_volume": True}}


class Stepper(Protocol):
    """What moves the atoms."""

    @property
    def part(self) -> Any:
        """ASE's object that does, with all that it keeps between steps."""

    def step(self) -> None:
        """One step."""

    def finished(self) -> bool:
        """Whether there is nothing left to do, however many steps were asked for."""

    def conserved(self, atoms: Atoms) -> float | None:
        """The energy in eV that no step should change; None if there is none."""


class DynamicsStepper:
    """Steps of an integrator."""

    def __init__(self, dynamics: MolecularDynamics, conserved: Conserved | None):
        self.part: Any = dynamics
        self._conserved = conserved

    def step(self) -> None:
        """One step."""
        self.part.run(1)

    def finished(self) -> bool:
        """Never: time goes on."""
        return False

    def conserved(self, atoms: Atoms) -> float | None:
        """See `Stepper`."""
        return None if self._conserved is None else self._conserved(self.part, atoms)


class RelaxationStepper:
    """Steps of an optimizer.

    Args:
        target: Atoms, or a filter around them.
        kind: The optimizer.
        fmax: eV/Å.
    """

    def __init__(self, target: Atoms | FrechetCellFilter, kind: type[Optimizer], fmax: float):
        self.part: Any = kind(target, logfile=None)  # type: ignore[arg-type]  # ASE takes filters too
        self._target, self._fmax = target, fmax

    def step(self) -> None:
        """One step."""
        self.part.run(fmax=self._fmax, steps=1)

    def finished(self) -> bool:
        """Whether no force is larger than fmax."""
        return bool(np.linalg.norm(self._target.get_forces(), axis=1).max() < self._fmax)

    def conserved(self, atoms: Atoms) -> float | None:
        """None: a relaxation changes the energy on purpose."""
        return None


def build_stepper(atoms: Atoms, settings: SimulationSettings, degrees: int, rng: np.random.Generator) -> Stepper:
    """What the settings ask for.

    Args:
        atoms: With calculator and momenta; they are moved.
        settings: How.
        degrees: Degrees of freedom that are thermal.
        rng: Noise of a thermostat.
    """
    if settings.ensemble != "relax":
        integrator = choose_integrator(settings)
        return DynamicsStepper(integrator.build(atoms, settings, degrees, rng), integrator.conserved)
    target: Atoms | FrechetCellFilter = atoms
    if settings.moving_cell != "fixed":
        pressure = settings.pressure * units.GPa
        target = FrechetCellFilter(atoms, scalar_pressure=pressure, **_CELL_FILTERS[settings.moving_cell])
    return RelaxationStepper(target, OPTIMIZERS[settings.optimizer], settings.relax_fmax)
