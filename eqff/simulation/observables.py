"""What a row of the log says about the structure of now."""

from __future__ import annotations

import numpy as np
from ase import Atoms, units
from ase.constraints import FixCom

from eqff.interfaces.ase import TERMS
from eqff.simulation.settings import SimulationSettings
from eqff.simulation.stepping import Stepper
from eqff.simulation.velocities import kinetic_temperature

_STRESS = tuple(f"stress_{name}_GPa" for name in ("xx", "yy", "zz", "yz", "xz", "xy"))
_UNCERTAINTIES = ("energy_uncertainty_eV", "max_force_uncertainty_eV_per_A")
_SUMS = {"charges": "charge_sum_e", "spin_charges": "spin_charge_sum"}


def log_columns(atoms: Atoms, settings: SimulationSettings) -> list[str]:
    """Names of the log's columns, units included.

    Args:
        atoms: With their calculator.
        settings: Say which columns there is something for.
    """
    moves = settings.ensemble != "relax"
    columns = ["step"]
    columns += ["time_fs", "total_energy_eV"] if moves else []
    columns += ["potential_energy_eV"]
    columns += ["kinetic_energy_eV", "temperature_K", "conserved_energy_eV"] if moves else []
    columns += ["max_force_eV_per_A", "min_distance_A"]
    columns += ["volume_A3", "pressure_GPa", *_STRESS] if has_volume(atoms) else []
    columns += list(_UNCERTAINTIES) if atoms.calc.potential.uncertainties else []
    columns += [f"energy_{name}_eV" for name in atoms.calc.potential.terms]
    return columns + [column for field, column in _SUMS.items() if field in atoms.calc.fields]


def observe(atoms: Atoms, step: int, settings: SimulationSettings, stepper: Stepper, degrees: int) -> dict[str, float]:
    """The numbers of one row, by column; numbers that the columns leave out may be among them.

    Pressure and stress contain the kinetic part, -2 E_kin / 3V of the mean; stress is positive under tension.

    Args:
        atoms: With their calculator.
        step: Steps done.
        settings: Give the time of a step.
        stepper: Tells the conserved energy.
        degrees: Thermal degrees of freedom.
    """
    potential, kinetic = atoms.get_potential_energy(), atoms.get_kinetic_energy()
    row = {
        "step": step,
        "time_fs": step * settings.timestep,
        "total_energy_eV": potential + kinetic,
        "potential_energy_eV": potential,
        "kinetic_energy_eV": kinetic,
        "temperature_K": kinetic_temperature(atoms, degrees),
        "max_force_eV_per_A": float(np.linalg.norm(_forces(atoms), axis=1).max()),
    }
    conserved, shortest = stepper.conserved(atoms), atoms.calc.shortest_distance()[0]
    row |= {} if conserved is None else {"conserved_energy_eV": conserved}
    row |= {"min_distance_A": shortest} if np.isfinite(shortest) else {}
    if has_volume(atoms):
        stress = atoms.get_stress(include_ideal_gas=True) / units.GPa
        row |= {"volume_A3": atoms.cell.volume, "pressure_GPa": -stress[:3].mean()}
        row |= dict(zip(_STRESS, stress, strict=True))
    if atoms.calc.potential.uncertainties:
        doubts = (atoms.calc.results["energy_uncertainty"], atoms.calc.results["forces_uncertainty"].max())
        row |= dict(zip(_UNCERTAINTIES, map(float, doubts), strict=True))
    row |= {f"energy_{name}_eV": value for name, value in atoms.calc.results[TERMS].items()}
    return row | {column: atoms.calc.results[f].sum() for f, column in _SUMS.items() if f in atoms.calc.fields}


def _forces(atoms: Atoms) -> np.ndarray:
    """Forces in eV/Å, (N, 3), zero on atoms that are held.

    What holds the centre of mass changes no force: ASE would take parts of them away all the same.
    """
    forces = atoms.get_forces(apply_constraint=False)
    for constraint in atoms.constraints:
        if not isinstance(constraint, FixCom):
            constraint.adjust_forces(atoms, forces)
    return forces


def has_volume(atoms: Atoms) -> bool:
    """Whether stress and pressure mean something: periodic, with three lattice vectors."""
    return bool(atoms.pbc.any()) and atoms.cell.rank == 3
