"""Systems of which a model describes a region and a force field the rest (ML/MM)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from eqff.errors import ConfigError, ModelError
from eqff.interfaces.openmm.computation import ModelComputation
from eqff.interfaces.openmm.package import atomic_numbers, chosen_atoms, lengths, openmm
from eqff.interfaces.openmm.region import molecules_of, particle_charges, take_out
from eqff.interfaces.openmm.surroundings import Surroundings
from eqff.potential import Potential

if TYPE_CHECKING:
    from openmm import System

    from eqff.data.convert import Multiplicity

Coulomb = Literal["model", "force_field"]


def mixed_system(
    system: System,
    elements: Any,
    atoms: Sequence[int],
    potential: Potential | str | Path | Sequence[str | Path],
    *,
    coulomb: Coulomb,
    total_charge: float | None = None,
    multiplicity: Multiplicity | None = None,
    cutoff: Any = None,
    fade: Any = 0.2,
    width: Any = 0.0,
    **settings: Any,
) -> System:
    """A copy of a force field's system in which a model describes some of the atoms.

    The force field's terms and constraints within the region are taken out, Lennard-Jones interactions with the rest
    stay. Whole molecules only: a bond between region and rest is refused.

    Args:
        system: As ``ForceField.createSystem`` makes it.
        elements: Atomic numbers of all particles, or the ``Topology``.
        atoms: The region's.
        potential: A model, or where to find one (see `eqff.load`).
        coulomb: Who gives region and rest their electrostatic interaction: "model", in which the particles around are
            external charges, that polarise the region if charges or dipoles of the model respond (electrostatic
            embedding); "force_field" by its own fixed charges of the region's atoms (mechanical embedding).
        total_charge: Of the region, e.
        multiplicity: Of the region, 2S+1 or "lowest".
        cutoff: Of external charges, nm or a quantity: from the centre of the region to that of a molecule. Needed where
            the system is periodic; None for all charges. ``fade`` and ``width`` are lengths of the same kind.
        fade: Over which distance before the cutoff molecules lose their charges.
        width: Of the external charges' Gaussian densities exp(-r²/width²); 0 for points.
        settings: Others of `eqff.interfaces.ase.EqffCalculator`.

    Raises:
        ConfigError: OpenMM is not installed, or settings that don't go together.
        ModelError: The region can't be taken out: bonds to the rest, forces that can't be divided, no charges. Or the
            model feels no external charges, which ``coulomb="model"`` asks for.
    """
    package = openmm()
    numbers = atomic_numbers(elements)
    if len(numbers) != system.getNumParticles():
        raise ModelError(f"The system has {system.getNumParticles()} particles, but there are {len(numbers)} elements.")
    region = chosen_atoms(atoms, numbers)
    by_model = _by_model(coulomb)
    if not by_model and cutoff is not None:
        raise ConfigError("cutoff belongs to coulomb=model: with coulomb=force_field there are no external charges.")
    surroundings = _surroundings(system, region, cutoff, fade, width) if by_model else None
    mixed = take_out(system, region, keep_charges=not by_model)
    state = {"total_charge": total_charge, "multiplicity": multiplicity}
    periodic = system.usesPeriodicBoundaryConditions()
    computation = ModelComputation(
        {"potential": potential, **state, **settings},
        [numbers[index] for index in region],
        region if by_model else None,
        boxed=periodic,
        surroundings=surroundings,
    )
    if by_model:
        _require_feeling(computation.calculator.potential)
    force = package.PythonForce(computation)
    force.setName("eqff")
    force.setUsesPeriodicBoundaryConditions(periodic)
    if not by_model:
        force.setParticles(region)
    mixed.addForce(force)
    return mixed


def _by_model(coulomb: str) -> bool:
    known = {"model": True, "force_field": False}
    if coulomb not in known:
        raise ConfigError(f"coulomb is '{coulomb}', but has to be one of {', '.join(known)}.")
    return known[coulomb]


def _require_feeling(potential: Potential) -> None:
    try:
        potential.external_guard.require()
    except ModelError as error:
        text = f"{error} Or leave the Coulomb interaction to the force field: coulomb='force_field'."
        raise ModelError(text) from error


def _surroundings(system: System, region: Sequence[int], cutoff: Any, fade: Any, width: Any) -> Surroundings:
    periodic = system.usesPeriodicBoundaryConditions()
    if periodic and cutoff is None:
        raise ConfigError(
            "In a periodic system external charges need a cutoff within half of its box: cutoff=1.2 (nm)."
        )
    charges = particle_charges(system)
    charges[list(region)] = 0.0
    particles = np.flatnonzero(charges)
    molecules, before = molecules_of(system)
    molecules = molecules[particles]
    order = np.argsort(molecules, kind="stable")
    particles, molecules = particles[order], np.unique(molecules[order], return_inverse=True)[1]
    return Surroundings(
        region=np.array(region),
        particles=particles,
        charges=charges[particles],
        molecules=molecules,
        fade=None if cutoff is None else _fading(lengths(cutoff), lengths(fade)),
        width=lengths(width),
        before=before,
    )


def _fading(end: float, over: float) -> tuple[float, float]:
    if not 0 < over <= end:
        raise ConfigError(f"fade ({over:g} Å) has to be above 0, and not longer than the cutoff ({end:g} Å).")
    return end - over, end
