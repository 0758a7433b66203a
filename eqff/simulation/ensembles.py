"""The ensembles: ASE's integrators, first velocities, and the temperature that goes with each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ase import Atoms, units
from ase.constraints import FixCom
from ase.md.langevin import Langevin
from ase.md.md import MolecularDynamics
from ase.md.velocitydistribution import Stationary, ZeroRotation
from ase.md.verlet import VelocityVerlet

from eqff.errors import ConfigError, did_you_mean
from eqff.simulation.settings import SimulationSettings


def velocity_verlet(atoms: Atoms, settings: SimulationSettings, rng: np.random.Generator) -> MolecularDynamics:
    """Velocity Verlet [Swope et al., J. Chem. Phys. 76, 637 (1982)]."""
    return VelocityVerlet(atoms, timestep=settings.timestep * units.fs)


def langevin(atoms: Atoms, settings: SimulationSettings, rng: np.random.Generator) -> MolecularDynamics:
    """Langevin dynamics [Vanden-Eijnden & Ciccotti, Chem. Phys. Lett. 429, 310 (2006)], the centre of mass at rest."""
    if len(atoms) > 1:
        atoms.set_constraint([*atoms.constraints, FixCom()])
    return Langevin(
        atoms,
        timestep=settings.timestep * units.fs,
        temperature_K=settings.temperature,
        friction=settings.friction / units.fs,
        fixcm=False,  # ASE's own way samples a wrong distribution for few atoms; the constraint does not
        rng=rng,
    )


@dataclass(frozen=True)
class Ensemble:
    """One ensemble.

    Attributes:
        integrator: From atoms, settings and noise to ASE's dynamics.
        keeps_rotation: Whether a molecule's angular momentum is conserved, so that it is taken away at the start.
        thermostat: Whether the temperature is held.
    """

    integrator: Callable[[Atoms, SimulationSettings, np.random.Generator], MolecularDynamics]
    keeps_rotation: bool
    thermostat: bool

    def degrees_of_freedom(self, atoms: Atoms) -> int:
        """How many degrees of freedom take part in the thermal motion; the rest is at rest."""
        if len(atoms) == 1:
            return 3
        rotations = 0
        if self.keeps_rotation and not atoms.pbc.any():
            arms = atoms.positions - atoms.get_center_of_mass()
            rotations = {0: 0, 1: 2}.get(np.linalg.matrix_rank(arms, tol=1e-3), 3)  # linear molecules have two
        return 3 * len(atoms) - 3 - rotations


ENSEMBLES: dict[str, Ensemble] = {
    "nve": Ensemble(velocity_verlet, keeps_rotation=True, thermostat=False),
    "nvt": Ensemble(langevin, keeps_rotation=False, thermostat=True),
}


def find_ensemble(name: str) -> Ensemble:
    """The ensemble of a name.

    Raises:
        ConfigError: There is none.
    """
    if name not in ENSEMBLES:
        raise ConfigError(f"ensemble: no '{name}'.{did_you_mean(name, ENSEMBLES)}")
    return ENSEMBLES[name]


def kinetic_temperature(atoms: Atoms, degrees_of_freedom: int) -> float:
    """2 E_kin / (k_B n) in K."""
    return 2 * atoms.get_kinetic_energy() / (units.kB * max(degrees_of_freedom, 1))


def give_velocities(atoms: Atoms, temperature: float, ensemble: Ensemble, rng: np.random.Generator) -> None:
    """Maxwell-Boltzmann momenta, the centre of mass at rest, without rotation where that would stay; exactly T.

    Args:
        atoms: Their momenta are set.
        temperature: K.
        ensemble: Says which motion takes part.
        rng: Source of the momenta.
    """
    spread = np.sqrt(atoms.get_masses() * units.kB * temperature)
    atoms.set_momenta(rng.standard_normal((len(atoms), 3)) * spread[:, None])
    if len(atoms) > 1:
        Stationary(atoms, preserve_temperature=False)
        if ensemble.keeps_rotation and not atoms.pbc.any():
            ZeroRotation(atoms, preserve_temperature=False)
    actual = kinetic_temperature(atoms, ensemble.degrees_of_freedom(atoms))
    if actual > 0:
        atoms.set_momenta(atoms.get_momenta() * np.sqrt(temperature / actual))
