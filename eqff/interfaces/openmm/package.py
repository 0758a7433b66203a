"""OpenMM itself, which eqff does not depend on, and what crosses the border to it."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

from eqff.errors import ConfigError, ModelError

KJ_PER_MOL = 96.48533212331002
"""One eV in kJ/mol [CODATA 2018]."""

ANGSTROM_PER_NM = 10.0


def openmm() -> ModuleType:
    """The package.

    Raises:
        ConfigError: It is not installed, or has no forces in Python yet.
    """
    try:
        import openmm as package
    except ImportError as error:
        raise ConfigError(
            f"This needs OpenMM, but it can't be imported ({error}): pip install 'eqff[openmm]'."
        ) from error
    if not hasattr(package, "PythonForce"):
        raise ConfigError(
            f"OpenMM {package.version.version} has no PythonForce, by which it calls models: pip install -U openmm."
        )
    return package


def lengths(value: Any) -> float:
    """A length in Å from a quantity, or from a number in nm, as everywhere in OpenMM."""
    unit = openmm().unit
    return float(value.value_in_unit(unit.angstrom) if unit.is_quantity(value) else value * ANGSTROM_PER_NM)


def atomic_numbers(elements: Any) -> list[int]:
    """Of every particle; 0 for particles of no element, as virtual sites.

    Args:
        elements: Atomic numbers, or a ``Topology``.
    """
    if hasattr(elements, "atoms"):
        return [0 if atom.element is None else int(atom.element.atomic_number) for atom in elements.atoms()]
    return [int(number) for number in elements]


def chosen_atoms(atoms: Sequence[int] | None, numbers: Sequence[int]) -> list[int]:
    """The particles that a model describes, all of them if None.

    Raises:
        ModelError: There are none, one is there twice or not at all, or one is no atom.
    """
    chosen = list(range(len(numbers))) if atoms is None else [int(index) for index in atoms]
    outside = [index for index in chosen if not 0 <= index < len(numbers)]
    if outside:
        raise ModelError(f"atoms names particle {outside[0]}, but there are {len(numbers)}, counted from 0.")
    if not chosen or len(set(chosen)) < len(chosen):
        raise ModelError("atoms has to name at least one particle, and none of them twice.")
    sites = [index for index in chosen if numbers[index] < 1]
    if sites:
        raise ModelError(
            f"Particle {sites[0]} is of no element, as virtual sites are; a model describes atoms alone. Leave such "
            "particles out, or take a force field without them."
        )
    return chosen
