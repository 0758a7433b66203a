"""A calculator as the forces of LAMMPS, through its ``fix external``: whole structures, in one call of the model.

Charges that are equilibrated over a structure, sums over all its images and induced dipoles need all atoms at once, so
what LAMMPS has spread over processes is put together first. LAMMPS integrates, thermostats, writes; the calculator is
the one of ASE, so energies and forces are the same numbers as in Python.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from ase.calculators.calculator import Calculator
from ase.data import atomic_masses, atomic_numbers, chemical_symbols

from eqff.errors import ConfigError, ModelError, did_you_mean
from eqff.interfaces.lammps.forces import ExternalForces
from eqff.interfaces.lammps.ranks import ranks_of
from eqff.interfaces.lammps.units import units_of

_log = logging.getLogger(__name__)

_OTHER_MASS = 0.1
"""Relative to an element's own, which more than isotopes of all but hydrogen are off."""


def attach(
    lmp: Any,
    calculator: Calculator | None,
    elements: Sequence[str],
    *,
    write_charges: bool = False,
    fix: str = "eqff",
) -> ExternalForces:
    """Makes a model the forces of LAMMPS from now on.

    Adds ``fix ID all external pf/callback 1 1`` with its energy and virial; energies of pair styles and other fixes add
    up with it as LAMMPS does. Take it back by ``lmp.command("unfix eqff")``.

    Args:
        lmp: A running LAMMPS (``lammps.lammps()`` of its own Python module) with a three-dimensional box and atom IDs,
            in units metal, real or electron.
        calculator: The model with all its settings, total charge and multiplicity among them:
            ``model.calculator(total_charge=0, multiplicity=1)``. Any other calculator of ASE does too. Where LAMMPS
            runs on several processes, the first one computes; others may give None.
        elements: The element of each atom type, in their order, as in ``pair_coeff``: ``["O", "H"]``.
        write_charges: Whether predicted charges become LAMMPS' ``q`` at each step, for dumps. They are not sent to
            ghost atoms: leave Coulomb energies to the model.
        fix: ID of the fix.

    Returns:
        What computes; ``failure`` of it is the exception that ended a run.

    Raises:
        ConfigError: LAMMPS' settings or these arguments can't work.
        ModelError: The model does not know an element.
    """
    if not lmp.extract_setting("box_exist"):
        raise ConfigError("LAMMPS has no box yet: read or create it (read_data, create_box) before attaching a model.")
    if lmp.extract_setting("dimension") != 3:
        raise ConfigError("LAMMPS is in 'dimension 2', but models are made for three: use 'dimension 3'.")
    if lmp.extract_global("respa_levels"):
        raise ConfigError("LAMMPS is in 'run_style respa', which does not call fix external: use 'run_style verlet'.")
    if write_charges and not lmp.extract_setting("q_flag"):
        raise ConfigError("write_charges: atoms have no charges in this atom_style. Use 'atom_style charge' or full.")
    units, numbers, ranks = units_of(lmp.extract_global("units")), _numbers(lmp, elements), ranks_of(lmp)
    if ranks.first:
        _require_known(calculator, numbers)
        _compare_masses(lmp, numbers)
    forces = ExternalForces(lmp, calculator, numbers, units, ranks, fix, write_charges)
    lmp.command(f"fix {fix} all external pf/callback 1 1")
    lmp.command(f"fix_modify {fix} energy yes virial yes")
    lmp.set_fix_external_callback(fix, forces, None)
    return forces


def _numbers(lmp: Any, elements: Sequence[str]) -> np.ndarray:
    """Atomic number of each type; type 0 doesn't exist."""
    types = lmp.extract_setting("ntypes")
    if isinstance(elements, str) or len(elements) != types:
        raise ConfigError(
            f"elements is {elements!r}, but LAMMPS has {types} atom type{'s' * (types > 1)}: give a list with the "
            "symbol of each, in the order of the types."
        )
    for symbol in elements:
        if symbol not in chemical_symbols[1:]:
            raise ConfigError(f"elements: '{symbol}' is none.{did_you_mean(symbol, chemical_symbols[1:])}")
    return np.array([0, *(atomic_numbers[symbol] for symbol in elements)])


def _require_known(calculator: Calculator | None, numbers: np.ndarray) -> None:
    if calculator is None:
        raise ConfigError("The first process of LAMMPS needs a calculator: model.calculator(...).")
    potential = getattr(calculator, "potential", None)  # of ASE's own calculators nobody knows before they compute
    unknown = sorted(set(numbers[1:].tolist()) - set(getattr(potential, "elements", numbers[1:].tolist())))
    if unknown:
        raise ModelError(
            f"The model does not know {', '.join(chemical_symbols[z] for z in unknown)}; it was made for "
            f"{', '.join(chemical_symbols[z] for z in potential.elements)}."
        )


def _compare_masses(lmp: Any, numbers: np.ndarray) -> None:
    """Tells of masses that aren't their element's: most often ``elements`` is in another order than the types."""
    masses = lmp.numpy.extract_atom("mass")
    if masses is None:
        return  # each atom has its own
    for kind, number in enumerate(numbers[1:], start=1):
        mass, usual = float(masses[kind]), float(atomic_masses[number])
        if mass > 0 and abs(mass - usual) > _OTHER_MASS * usual:
            _log.warning(
                "LAMMPS' mass of type %d is %.4g, but that of %s is %.4g. Are the elements in the order of the types?",
                kind,
                mass,
                chemical_symbols[number],
                usual,
            )
