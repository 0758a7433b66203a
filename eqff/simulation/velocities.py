"""Velocities: which motions are thermal, Maxwell-Boltzmann momenta, and the temperature."""

from __future__ import annotations

import numpy as np
from ase import Atoms, units
from ase.constraints import FixCom
from ase.md.velocitydistribution import Stationary, ZeroRotation

from eqff.interfaces.state import stated_charges, stated_field


def degrees_of_freedom(atoms: Atoms, *, keeps_rotation: bool) -> int:
    """How many degrees of freedom take part in the thermal motion; the rest is at rest.

    Args:
        atoms: With momenta, if rotation is to be judged.
        keeps_rotation: Whether the integrator leaves a molecule without rotation if it starts without, and a drift as
            it is; one that does not holds the centre of mass.
    """
    held = [constraint for constraint in atoms.constraints if not isinstance(constraint, FixCom)]
    if held:
        return 3 * len(atoms) - sum(constraint.get_removed_dof(atoms) for constraint in held)
    if len(atoms) == 1 or pulled(atoms):
        return 3 * len(atoms)
    rotations = 0
    if keeps_rotation and not _turned(atoms) and not atoms.pbc.any() and not _rotates(atoms):
        arms = atoms.positions - atoms.get_center_of_mass()
        rotations = {0: 0, 1: 2}.get(np.linalg.matrix_rank(arms, tol=1e-3), 3)  # linear molecules have two
    whole = 0 if keeps_rotation and not driven(atoms) and _drifts(atoms) else 3
    return 3 * len(atoms) - whole - rotations


def pulled(atoms: Atoms) -> bool:
    """Whether external charges, which stay where they are, move a structure as a whole: then nothing is at rest."""
    return any(np.size(value) for value in stated_charges(atoms.info).values())


def driven(atoms: Atoms) -> bool:
    """Whether a uniform field accelerates a structure as a whole, an ion."""
    return _turned(atoms) and bool(atoms.info.get("total_charge"))


def _turned(atoms: Atoms) -> bool:
    """Whether a uniform field turns a structure."""
    given = (*stated_field(atoms.info).values(), getattr(atoms.calc, "electric_field", None))
    return any(value is not None and np.any(value) for value in given)


def _rotates(atoms: Atoms) -> bool:
    """Whether the angular momentum is more than rounding, beside what all momenta together could give."""
    arms = np.linalg.norm(atoms.positions - atoms.get_center_of_mass(), axis=1)
    possible = float(arms @ np.linalg.norm(atoms.get_momenta(), axis=1))
    return bool(np.linalg.norm(atoms.get_angular_momentum()) > 1e-6 * possible)


def _drifts(atoms: Atoms) -> bool:
    """Whether the centre of mass has more than a thousandth of the kinetic energy that an atom has on average."""
    total = atoms.get_momenta().sum(axis=0)
    return bool(len(atoms) * (total @ total) / atoms.get_masses().sum() > 2e-3 * atoms.get_kinetic_energy())


def kinetic_temperature(atoms: Atoms, degrees: int) -> float:
    """2 E_kin / (k_B n) in K."""
    return float(2 * atoms.get_kinetic_energy() / (units.kB * max(degrees, 1)))


def give_velocities(atoms: Atoms, temperature: float, rng: np.random.Generator, *, keeps_rotation: bool) -> None:
    """Maxwell-Boltzmann momenta, the centre of mass at rest, without rotation, where both would stay; exactly T.

    Atoms that a constraint holds stay at rest.

    Args:
        atoms: Their momenta are set.
        temperature: K.
        rng: Source of the momenta.
        keeps_rotation: See `degrees_of_freedom`.
    """
    spread = np.sqrt(atoms.get_masses() * units.kB * temperature)
    atoms.set_momenta(rng.standard_normal((len(atoms), 3)) * spread[:, None])
    if len(atoms) > 1 and not atoms.constraints and not pulled(atoms):
        Stationary(atoms, preserve_temperature=False)
        if keeps_rotation and not atoms.pbc.any() and not _turned(atoms):
            with np.errstate(invalid="ignore"):  # linear molecules have an axis without inertia
                ZeroRotation(atoms, preserve_temperature=False)
    actual = kinetic_temperature(atoms, degrees_of_freedom(atoms, keeps_rotation=keeps_rotation))
    if actual > 0:
        atoms.set_momenta(atoms.get_momenta() * np.sqrt(temperature / actual))
