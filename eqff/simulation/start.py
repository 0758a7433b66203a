"""What a simulation starts from: a structure that the model knows, with all that the settings ask of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.constraints import FixAtoms, FixConstraint

from eqff.data.account import Account
from eqff.data.atoms import to_atoms
from eqff.data.paths import resolve_paths
from eqff.data.reading import Reading, read_records
from eqff.errors import ConfigError, DataError, ModelError
from eqff.evaluation.states import state_name, unseen_states
from eqff.interfaces.ase import EqffCalculator
from eqff.interfaces.state import require_state
from eqff.potential import Potential
from eqff.simulation.settings import SimulationSettings
from eqff.simulation.velocities import driven

Report = Callable[[str], None]
_STATE_REMEDY = "Say it with this command: total_charge=0 multiplicity=1"


def read_structure(settings: SimulationSettings) -> Atoms:
    """The structure to start from, with charge and spin state in its ``info``, and momenta if the settings want them.

    Raises:
        DataError: There is none, its charge or multiplicity are nowhere given, or it has no momenta to start with.
    """
    path = settings.structure if "@" in Path(settings.structure).name else f"{settings.structure}@0"
    found = [(file, record) for file, part in resolve_paths(path) for record in read_records(f"{file}{part}")]
    if len(found) != 1:
        raise DataError(f"structure: '{path}' names {len(found)} frames; a simulation starts from one, e.g. FILE@0.")
    ((file, record),) = found
    if len(record.numbers) == 0:
        raise DataError(f"structure: '{path}' has no atoms.")
    require_state(record.structure, settings.total_charge, settings.multiplicity, f"'{path}'", _STATE_REMEDY)
    reading = Reading(total_charge=settings.total_charge, multiplicity=settings.multiplicity, labels=())
    ((frame, _),) = reading.frames(file, [record], Account())
    atoms, own = to_atoms(frame), record.ase
    if own is not None and own.has("masses"):  # of isotopes
        atoms.set_masses(own.get_masses())
    if settings.velocities == "structure":
        atoms.set_momenta(_momenta(path, own))
    if own is not None:
        atoms.set_constraint(own.constraints)  # so that it is told if others take their place
    return atoms


def _momenta(path: str, own: Atoms | None) -> np.ndarray:
    """The momenta (N, 3) of a frame, in ASE's units."""
    if own is None or not own.get_momenta().any():
        raise DataError(
            f"velocities=structure, but '{path}' has no momenta. Take a frame of a trajectory of molecular dynamics, "
            "or velocities=new."
        )
    return own.get_momenta()


def prepare(atoms: Atoms, potential: Potential, settings: SimulationSettings, report: Report) -> Atoms:
    """A copy with calculator and constraints, and with its charge and spin state in ``info`` for the trajectory.

    Args:
        atoms: Start; not changed.
        potential: The model.
        settings: What is asked for.
        report: Is told what is done in spite of a doubt.

    Raises:
        ConfigError: The settings ask for what this structure can't do.
        DataError: The structure can't be.
        ModelError: The model does not know its elements, or its charge and spin state.
    """
    require_uncertainty(potential, settings)
    atoms = atoms.copy()
    attach_calculator(atoms, potential, settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # said below, as an error or a line
        structure = atoms.calc.structure(atoms)
    potential.require_elements(torch.tensor(atoms.numbers))
    _check_cell(atoms, settings)
    unseen = unseen_states([structure], potential.metadata.training if potential.metadata else {})
    for state in unseen:
        text = f"the model was not trained on any structure in the state {state_name(state)}"
        if not settings.allow_unseen_state:
            raise ModelError(
                f"structure: {text}, so what it says about it is a guess. Choose another model or state, or go on all "
                "the same: allow_unseen_state=true."
            )
        report(f"Mind: {text}; going on, as allow_unseen_state says.")
    atoms.info.update({name: round(float(structure[name])) for name in ("total_charge", "multiplicity")})
    _tell_of_constraints(atoms, settings, report)
    hold(atoms, settings)
    if settings.ensemble == "nvt" and settings.thermostat == "nose_hoover" and driven(atoms):
        raise ConfigError(
            "thermostat=nose_hoover can't hold the centre of mass of an ion, which the electric field moves faster and "
            "faster: that would pass for heat. Take thermostat=bussi or langevin."
        )
    return atoms


def require_uncertainty(potential: Potential, settings: SimulationSettings) -> None:
    """Raises ConfigError if a limit is set on an uncertainty that the model does not have."""
    for name in ("max_uncertainty", "flag_uncertainty"):
        limit = getattr(settings, name)
        if limit is None or "forces_uncertainty" in potential.uncertainties:
            continue
        raise ConfigError(
            f"{name}={limit:g} needs a model that knows how uncertain it is, and this one "
            "does not. Give an ensemble, model='[runs/a,runs/b]', or a model with a last-layer estimate "
            "(docs/uncertainty.md)."
        )


def attach_calculator(atoms: Atoms, potential: Potential, settings: SimulationSettings) -> None:
    """Gives the atoms the model as their calculator."""
    atoms.calc = EqffCalculator(
        potential,
        total_charge=settings.total_charge,
        multiplicity=settings.multiplicity,
        electric_field=settings.electric_field,
        skin=settings.skin,
        warm_start=settings.warm_start,
        with_stress=bool(atoms.pbc.any()),
        outside="warn",  # whether to go on is for allow_unseen_state to say
    )


def hold(atoms: Atoms, settings: SimulationSettings) -> None:
    """Puts the constraints on that the settings ask for, and no others; atoms that they hold are at rest.

    Raises:
        ConfigError: An atom that there is not, or none that could move.
    """
    fixed = sorted(set(settings.fixed_atoms))
    if fixed and fixed[-1] >= len(atoms):
        raise ConfigError(f"fixed_atoms: there is no atom {fixed[-1]}; they are counted from 0 to {len(atoms) - 1}.")
    if len(fixed) == len(atoms):
        raise ConfigError("fixed_atoms holds every atom: nothing could move.")
    atoms.set_constraint([FixAtoms(fixed)] if fixed else [])
    if fixed and atoms.has("momenta"):
        atoms.set_momenta(atoms.get_momenta())  # which asks the constraint


def _tell_of_constraints(atoms: Atoms, settings: SimulationSettings, report: Report) -> None:
    """One line where the structure comes with other constraints than those that the settings ask for."""
    chosen = sorted(set(settings.fixed_atoms))
    if atoms.constraints and _fixed(atoms.constraints) != set(chosen):
        kinds = ", ".join(sorted({type(each).__name__ for each in atoms.constraints}))
        report(
            f"Mind: constraints of the structure itself ({kinds}) are not kept; held are {chosen or 'no atoms'}, as "
            "fixed_atoms says."
        )


def _fixed(constraints: Sequence[FixConstraint]) -> set[int] | None:
    """Atoms that constraints hold where they are; None if some do anything else."""
    if any(type(each) is not FixAtoms for each in constraints):
        return None
    return {index for each in constraints for index in each.todict()["kwargs"]["indices"]}


def _check_cell(atoms: Atoms, settings: SimulationSettings) -> None:
    if settings.moving_cell == "fixed" or (atoms.pbc.all() and atoms.cell.rank == 3):
        return
    raise ConfigError(
        f"ensemble={settings.ensemble} with cell={settings.moving_cell} needs a structure that is periodic in three "
        f"directions; this one has pbc={atoms.pbc.tolist()} and {atoms.cell.rank} lattice vectors."
    )
