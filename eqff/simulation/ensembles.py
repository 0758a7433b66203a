"""The ensembles of molecular dynamics: ASE's integrators, and what is to be known of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.constraints import FixCom
from ase.md.bussi import Bussi
from ase.md.langevin import Langevin
from ase.md.md import MolecularDynamics
from ase.md.nose_hoover_chain import MTKNPT, IsotropicMTKNPT, NoseHooverChainNVT, NoseHooverChainThermostat
from ase.md.verlet import VelocityVerlet

from eqff.simulation.settings import SimulationSettings
from eqff.simulation.velocities import driven, pulled

Conserved = Callable[[Any, Atoms], float]
"""From ASE's dynamics and the atoms to an energy in eV."""


def hold_centre(atoms: Atoms) -> None:
    """Holds the centre of mass, unless atoms are held or external charges pull at them."""
    if len(atoms) > 1 and not atoms.constraints and not pulled(atoms):
        atoms.set_constraint(FixCom())


def velocity_verlet(
    atoms: Atoms, settings: SimulationSettings, degrees: int, rng: np.random.Generator
) -> MolecularDynamics:
    """Velocity Verlet [Swope et al., J. Chem. Phys. 76, 637 (1982)]. Of an ion in a uniform field, which it
    moves faster and faster, the centre of mass stays at rest; atoms move about it as they would anyway."""
    if driven(atoms):
        hold_centre(atoms)
    return VelocityVerlet(atoms, timestep=settings.timestep * units.fs)


def langevin(atoms: Atoms, settings: SimulationSettings, degrees: int, rng: np.random.Generator) -> MolecularDynamics:
    """Langevin dynamics [Vanden-Eijnden & Ciccotti, Chem. Phys. Lett. 429, 310 (2006)], the centre of mass at rest,
    but for structures that external charges pull at."""
    hold_centre(atoms)
    return Langevin(
        atoms,
        timestep=settings.timestep * units.fs,
        temperature_K=settings.temperature,
        friction=settings.friction / units.fs,
        fixcm=False,  # ASE's own way samples a wrong distribution for few atoms; the constraint does not
        rng=rng,
    )


def bussi(atoms: Atoms, settings: SimulationSettings, degrees: int, rng: np.random.Generator) -> MolecularDynamics:
    """Stochastic velocity rescaling [Bussi, Donadio & Parrinello, J. Chem. Phys. 126, 014101 (2007)]."""
    if driven(atoms):  # else its speed would pass for heat, and all else would freeze
        hold_centre(atoms)
    dynamics = Bussi(
        atoms,
        timestep=settings.timestep * units.fs,
        temperature_K=settings.temperature,
        taut=settings.thermostat_time * units.fs,
        rng=rng,
    )
    dynamics.ndof = degrees  # ASE counts motions that rescaling can't start, those of a whole that is at rest
    dynamics.target_kinetic_energy = 0.5 * degrees * units.kB * settings.temperature
    return dynamics


def nose_hoover(
    atoms: Atoms, settings: SimulationSettings, degrees: int, rng: np.random.Generator
) -> MolecularDynamics:
    """A chain of three Nosé-Hoover thermostats [Martyna, Klein & Tuckerman, J. Chem. Phys. 97, 2635 (1992)]."""
    dynamics = NoseHooverChainNVT(
        atoms,
        timestep=settings.timestep * units.fs,
        temperature_K=settings.temperature,
        tdamp=settings.thermostat_time * units.fs,
    )
    dynamics._thermostat = _chain(atoms, settings, degrees)
    return dynamics


def mtk_isotropic(
    atoms: Atoms, settings: SimulationSettings, degrees: int, rng: np.random.Generator
) -> MolecularDynamics:
    """Chains and a barostat for the volume [Martyna, Tobias & Klein, J. Chem. Phys. 101, 4177 (1994)]."""
    return _mtk(IsotropicMTKNPT, atoms, settings, degrees)


def mtk_full(atoms: Atoms, settings: SimulationSettings, degrees: int, rng: np.random.Generator) -> MolecularDynamics:
    """The same with a barostat for the whole cell."""
    return _mtk(MTKNPT, atoms, settings, degrees)


def _mtk(
    kind: type[IsotropicMTKNPT] | type[MTKNPT], atoms: Atoms, settings: SimulationSettings, degrees: int
) -> MolecularDynamics:
    dynamics = kind(
        atoms,
        timestep=settings.timestep * units.fs,
        temperature_K=settings.temperature,
        pressure_au=settings.pressure * units.GPa,
        tdamp=settings.thermostat_time * units.fs,
        pdamp=settings.barostat_time * units.fs,
    )
    dynamics._thermostat = _chain(atoms, settings, degrees)
    dynamics._num_atoms_global = degrees / 3  # what ASE makes of it is the number of degrees of freedom
    return dynamics


def _chain(atoms: Atoms, settings: SimulationSettings, degrees: int) -> NoseHooverChainThermostat:
    """ASE's chain for the degrees of freedom that move; its own counts 3N, which heats small systems by 3N/(3N - 3)."""
    return NoseHooverChainThermostat(
        num_atoms_global=degrees / 3,  # type: ignore[arg-type]  # ASE only multiplies it by 3
        masses=atoms.get_masses()[:, None],
        temperature_K=settings.temperature,
        tdamp=settings.thermostat_time * units.fs,
    )


def _own_energy(dynamics: Any, atoms: Atoms) -> float:
    return float(dynamics.get_conserved_energy())


def _total_energy(dynamics: Any, atoms: Atoms) -> float:
    return float(atoms.get_potential_energy() + atoms.get_kinetic_energy())


def _without_transferred(dynamics: Any, atoms: Atoms) -> float:
    return _total_energy(dynamics, atoms) - dynamics.transferred_energy


@dataclass(frozen=True)
class Integrator:
    """One way to move atoms in time.

    Attributes:
        build: From atoms, settings, degrees of freedom and noise to ASE's dynamics.
        keeps_rotation: Whether a molecule's angular momentum is kept at zero, so that it is taken away at the start.
        thermostat: Whether the temperature is held.
        barostat: Whether the pressure is held.
        conserved: The energy in eV that no step should change; None if there is none.
    """

    build: Callable[[Atoms, SimulationSettings, int, np.random.Generator], MolecularDynamics]
    keeps_rotation: bool = True
    thermostat: bool = True
    barostat: bool = False
    conserved: Conserved | None = _own_energy


INTEGRATORS: dict[str, Integrator] = {
    "velocity_verlet": Integrator(velocity_verlet, thermostat=False, conserved=_total_energy),
    "langevin": Integrator(langevin, keeps_rotation=False, conserved=None),
    "bussi": Integrator(bussi, conserved=_without_transferred),
    "nose_hoover": Integrator(nose_hoover),
    "mtk_isotropic": Integrator(mtk_isotropic, barostat=True),
    "mtk_full": Integrator(mtk_full, barostat=True),
}


def choose_integrator(settings: SimulationSettings) -> Integrator:
    """The integrator that the settings ask for; those of "relax" ask for none."""
    names = {"nve": "velocity_verlet", "nvt": settings.thermostat, "npt": f"mtk_{settings.moving_cell}"}
    return INTEGRATORS[names[settings.ensemble]]
