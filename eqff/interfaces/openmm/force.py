"""A model as a force of an OpenMM system."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eqff.interfaces.openmm.computation import ModelComputation
from eqff.interfaces.openmm.package import atomic_numbers, chosen_atoms, openmm
from eqff.potential import Potential

if TYPE_CHECKING:
    from openmm import PythonForce

    from eqff.data.convert import Multiplicity


def model_force(
    potential: Potential | str | Path | Sequence[str | Path],
    elements: Any,
    *,
    atoms: Sequence[int] | None = None,
    total_charge: float | None = None,
    multiplicity: Multiplicity | None = None,
    periodic: bool = False,
    **settings: Any,
) -> PythonForce:
    """The energy and forces that the ASE calculator gives, as a force for ``System.addForce``.

    OpenMM calls it on the CPU in every step, whatever its platform; the model computes on its own device.

    Args:
        potential: A model, or where to find one (see `eqff.load`).
        elements: Atomic numbers of all particles, or a ``Topology``.
        atoms: Particles that the model describes; all by default. Others do not act on them: see `mixed_system`.
        total_charge: Of these, e.
        multiplicity: 2S+1, or "lowest".
        periodic: Whether the model is periodic in OpenMM's box. If not, its atoms have to be given as one piece.
        settings: Others of `eqff.interfaces.ase.EqffCalculator`.

    Raises:
        ConfigError: OpenMM is not installed.
        ModelError: ``atoms`` names what is no atom.
        DataError: In a simulation: total charge or multiplicity are not given or impossible.
    """
    package = openmm()
    numbers = atomic_numbers(elements)
    chosen = chosen_atoms(atoms, numbers)
    state = {"total_charge": total_charge, "multiplicity": multiplicity}
    computation = ModelComputation(
        {"potential": potential, **state, **settings},
        [numbers[index] for index in chosen],
        boxed=periodic,
        cell=periodic,
    )
    force = package.PythonForce(computation)
    force.setName("eqff")
    force.setUsesPeriodicBoundaryConditions(periodic)
    if atoms is not None:
        force.setParticles(chosen)
    return force
