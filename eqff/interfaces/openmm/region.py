"""Taking a region out of a force field's system: its terms, constraints and, if a model gives them, its charges."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import breadth_first_order, connected_components

from eqff.errors import ModelError
from eqff.interfaces.openmm.package import openmm

if TYPE_CHECKING:
    from openmm import CustomNonbondedForce, Force, HarmonicBondForce, NonbondedForce, System

_PARTICLE = re.compile(r"[pab]\d+")  # what OpenMM's files call the particles of bonds, angles, torsions and maps
_TERMS = ("Bonds/Bond", "Angles/Angle", "Torsions/Torsion")
_INDIFFERENT = (
    *("CMMotionRemover", "AndersenThermostat", "CustomExternalForce"),
    *(
        "MonteCarloBarostat",
        "MonteCarloAnisotropicBarostat",
        "MonteCarloMembraneBarostat",
        "MonteCarloFlexibleBarostat",
    ),
)
"""Forces that stay as they are."""

_WHOLE = "A model describes whole molecules: choose all of its atoms, or none of them."


def take_out(system: System, region: Sequence[int], *, keep_charges: bool) -> System:
    """A copy of a system without what its force field says about a region by itself.

    Args:
        system: A force field's.
        region: Particles.
        keep_charges: Whether the region's charges act on the rest; Lennard-Jones interactions always do.

    Raises:
        ModelError: A bond, constraint or virtual site connects region and rest; a force can't be divided.
    """
    package, inside = openmm(), set(region)
    _require_no_sites(system, inside)
    tree = ElementTree.fromstring(package.XmlSerializer.serialize(system))
    for holder, term, particles in _bonded(tree):
        if _divided(particles, inside, term.tag.lower()):
            holder.remove(term)
    mixed = package.XmlSerializer.deserialize(ElementTree.tostring(tree, encoding="unicode"))
    for index in reversed(range(mixed.getNumConstraints())):
        if _divided(mixed.getConstraintParameters(index)[:2], inside, "constraint"):
            mixed.removeConstraint(index)
    connected = [link for link in _links(system) if inside.issuperset(link)]
    mixed.addForce(_connectivity(connected))
    for force in mixed.getForces():
        _ways(keep_charges).get(type(force).__name__, _leave)(force, inside)
    return mixed


def particle_charges(system: System) -> np.ndarray:
    """Of all particles in e, (n,).

    Raises:
        ModelError: No ``NonbondedForce`` says them, or several do; or one follows from a parameter.
    """
    found = [force for force in system.getForces() if type(force).__name__ == "NonbondedForce"]
    if len(found) != 1:
        raise ModelError(
            f"Charges are taken from the system's NonbondedForce, of which there are {len(found)}. With "
            "coulomb='force_field' none is needed."
        )
    for index in range(found[0].getNumParticleParameterOffsets()):
        parameter, particle, charge = found[0].getParticleParameterOffset(index)[:3]
        if charge:
            raise ModelError(
                f"The charge of particle {particle} follows from the parameter '{parameter}' of the NonbondedForce, "
                "which the model is not told of. Make the system without it."
            )
    unit = openmm().unit.elementary_charge
    count = found[0].getNumParticles()
    return np.array([found[0].getParticleParameters(index)[0].value_in_unit(unit) for index in range(count)])


def molecules_of(system: System) -> tuple[np.ndarray, np.ndarray]:
    """What bonds, constraints and virtual sites connect.

    Returns:
        The molecule of each particle, (n,); and the particle before it on the way from the first of its molecule, (n,),
        for which this is itself.
    """
    count = system.getNumParticles()
    pairs = np.array(_links(system), dtype=np.int64).reshape(-1, 2)
    molecules = connected_components(_graph(pairs, count), directed=False)[1]
    first = np.unique(molecules, return_index=True)[1]
    # from one more particle that is bonded to all of these
    joined = np.concatenate([pairs, np.column_stack([np.full(len(first), count), first])])
    before = breadth_first_order(_graph(joined, count + 1), count, directed=False)[1][:count]
    return molecules, np.where(before == count, np.arange(count), before)


def _graph(pairs: np.ndarray, count: int) -> csr_matrix:
    return csr_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(count, count))


def _links(system: System) -> list[tuple[int, int]]:
    """Pairs of particles that bonds, constraints and virtual sites connect."""
    tree = ElementTree.fromstring(openmm().XmlSerializer.serialize(system))
    groups = [particles for _, term, particles in _bonded(tree) if term.tag == "Bond"]
    groups += [system.getConstraintParameters(index)[:2] for index in range(system.getNumConstraints())]
    groups += [[site, *parents] for site, parents in _sites(system)]
    return [pair for group in groups for pair in combinations(group, 2)]


def _connectivity(links: Sequence[tuple[int, int]]) -> HarmonicBondForce:
    """Bonds without energy, by which barostats and wrapping go on taking the molecules of a region as wholes."""
    force = openmm().HarmonicBondForce()
    force.setName("connectivity of the region")
    for first, second in links:
        force.addBond(first, second, 0.0, 0.0)
    return force


def _bonded(tree: ElementTree.Element) -> Iterator[tuple[ElementTree.Element, ElementTree.Element, list[int]]]:
    """The terms of all bonded forces: what they are in, themselves, and their particles."""
    for path in _TERMS:
        group, name = path.split("/")
        for holder in tree.findall(f"./Forces/Force/{group}"):
            for term in holder.findall(name):
                yield holder, term, [int(value) for key, value in term.attrib.items() if _PARTICLE.fullmatch(key)]


def _sites(system: System) -> Iterator[tuple[int, list[int]]]:
    """Virtual sites and the particles that they follow from."""
    for index in range(system.getNumParticles()):
        if system.isVirtualSite(index):
            site = system.getVirtualSite(index)
            yield index, [site.getParticle(n) for n in range(site.getNumParticles())]


def _require_no_sites(system: System, inside: set[int]) -> None:
    for site, parents in _sites(system):
        if site in inside or inside & set(parents):
            raise ModelError(
                f"Particle {site} is a virtual site of the region, which a model has no use for. Make the region "
                "with a force field without virtual sites (as TIP3P for water)."
            )


def _divided(particles: Sequence[int], inside: set[int], what: str) -> bool:
    """Whether all particles are in the region; a ModelError if only some are."""
    there = [particle in inside for particle in particles]
    if any(there) and not all(there):
        raise ModelError(
            f"A {what} connects particles {', '.join(map(str, particles))}, of which only some are in the region. "
            f"{_WHOLE}"
        )
    return bool(there) and all(there)


def _ways(keep_charges: bool) -> dict[str, Callable[[Force, set[int]], None]]:
    """What is done to a force, by its class."""

    def nonbonded(force: NonbondedForce, inside: set[int]) -> None:
        _exclude(force, inside)
        if not keep_charges:
            _discharge(force, inside)

    return {"NonbondedForce": nonbonded, "CustomNonbondedForce": _exclude_custom}


def _leave(force: Force, inside: set[int]) -> None:
    """Leaves bonded and indifferent forces alone, and raises ModelError for others."""
    name = type(force).__name__
    bonded = any(hasattr(force, f"getNum{kind}") for kind in ("Bonds", "Angles", "Torsions"))
    if not bonded and name not in _INDIFFERENT:
        raise ModelError(
            f"The system has a {name}, which can't be divided into a region and its rest. Make the system without it."
        )


def _exclude(force: NonbondedForce, inside: set[int]) -> None:
    """No interactions within the region."""
    known = {}
    for index in range(force.getNumExceptions()):
        first, second = force.getExceptionParameters(index)[:2]
        if _divided((first, second), inside, "pair within three bonds"):
            known[min(first, second), max(first, second)] = index
    for pair in combinations(sorted(inside), 2):
        if pair in known:
            force.setExceptionParameters(known[pair], *pair, 0.0, 1.0, 0.0)
        else:
            force.addException(*pair, 0.0, 1.0, 0.0)


def _discharge(force: NonbondedForce, inside: set[int]) -> None:
    """No charges in the region."""
    for particle in inside:
        _, sigma, epsilon = force.getParticleParameters(particle)
        force.setParticleParameters(particle, 0.0, sigma, epsilon)


def _exclude_custom(force: CustomNonbondedForce, inside: set[int]) -> None:
    """No interactions within the region."""
    known = {tuple(sorted(force.getExclusionParticles(index))) for index in range(force.getNumExclusions())}
    for pair in combinations(sorted(inside), 2):
        if pair not in known:
            force.addExclusion(*pair)
