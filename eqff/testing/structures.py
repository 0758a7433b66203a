"""Small random structures of every periodicity, charge and spin, from a seed.

They are `ase.Atoms` whose ``info`` holds ``total_charge`` and ``multiplicity``. Lattice vectors exist only where the
structure is periodic.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.geometry import get_distances

MIN_DISTANCE = 0.95  # Å: close enough for bonds to hydrogen and for short-range repulsion
VOLUME_PER_ATOM = 5.0  # Å³
_TRIES = 2000
EXTERNAL = "external_positions"
"""Where ``info`` holds the positions of external charges, for those that have some (`among_charges`)."""


def molecule(
    seed: int,
    num_atoms: int = 7,
    elements: Sequence[int] = (1, 6, 7, 8),
    *,
    total_charge: int = 0,
    excited: bool = False,
) -> Atoms:
    """A dense cluster without periodicity, centred at the origin.

    Args:
        seed: Same seed, same structure.
        num_atoms: N.
        elements: Atomic numbers to draw from.
        total_charge: e.
        excited: Two more unpaired electrons than the lowest multiplicity has.
    """
    return _filled(seed, num_atoms, elements, np.zeros((3, 3)), total_charge, excited)


def wire(seed: int, num_atoms: int = 5, elements: Sequence[int] = (1, 6, 7, 8)) -> Atoms:
    """Periodic along one direction that is no axis."""
    return _filled(seed, num_atoms, elements, np.array([[3.4, 0.3, -0.4], [0, 0, 0], [0, 0, 0]]))


def slab(seed: int, num_atoms: int = 6, elements: Sequence[int] = (1, 6, 7, 8)) -> Atoms:
    """Periodic along two oblique directions."""
    return _filled(seed, num_atoms, elements, np.array([[3.3, 0.2, 0.1], [-0.7, 3.5, 0.3], [0, 0, 0]]))


def crystal(seed: int, num_atoms: int = 6, elements: Sequence[int] = (1, 6, 7, 8)) -> Atoms:
    """Triclinic, with a cell smaller than usual cutoffs."""
    return _filled(seed, num_atoms, elements, np.array([[3.5, 0.2, 0.1], [-0.6, 3.7, 0.3], [0.4, 0.5, 3.9]]))


def one_of_each(elements: Sequence[int] = (1, 6, 7, 8)) -> dict[str, Atoms]:
    """Every periodicity, and molecules in several charge and spin states, by name."""
    return {
        "molecule": molecule(1, elements=elements),
        "cation": molecule(2, 6, elements, total_charge=1),
        "anion": molecule(3, 5, elements, total_charge=-1, excited=True),
        "atom": molecule(4, 1, elements, total_charge=1),
        "wire": wire(5, elements=elements),
        "slab": slab(6, elements=elements),
        "crystal": crystal(7, elements=elements),
    }


def among_charges(atoms: Atoms, seed: int, count: int = 5, width: float = 0.0) -> Atoms:
    """The same atoms among external charges, 2 to 5 Å from all of them.

    Args:
        atoms: Without periodicity.
        seed: Same seed, same charges.
        count: Of the charges, which are between -1 and 1 e.
        width: Of their densities in Å; 0 for points.
    """
    rng, places = np.random.default_rng(seed), []
    while len(places) < count:
        place = atoms.positions[rng.integers(len(atoms))] + rng.uniform(-4, 4, 3)
        if 2.0 < np.linalg.norm(atoms.positions - place, axis=1).min() < 5.0:
            places.append(place)
    around = atoms.copy()
    around.info[EXTERNAL] = np.array(places)
    around.info["external_charges"] = rng.uniform(-1, 1, count)
    around.info["external_widths"] = np.full(count, width)
    return around


def displaced(atoms: Atoms, displacement: np.ndarray) -> Atoms:
    """The same atoms moved by ``displacement`` (N, 3) in Å; by (3,) together with external charges around them."""
    moved = atoms.copy()
    moved.positions += displacement
    if np.ndim(displacement) == 1 and EXTERNAL in moved.info:
        moved.info[EXTERNAL] = moved.info[EXTERNAL] + displacement
    return moved


def transformed(atoms: Atoms, matrix: np.ndarray) -> Atoms:
    """Every position and lattice vector multiplied by a (3, 3) matrix: a rotation, or one plus a strain. External
    charges turn too."""
    turned = atoms.copy()
    turned.set_cell(np.asarray(atoms.cell) @ matrix.T)
    turned.positions = atoms.positions @ matrix.T
    if EXTERNAL in turned.info:
        turned.info[EXTERNAL] = turned.info[EXTERNAL] @ matrix.T
    return turned


def joined(first: Atoms, second: Atoms, displacement: Sequence[float]) -> Atoms:
    """Both in one structure, the second one moved; charges and unpaired electrons add up."""
    both = first + displaced(second, np.asarray(displacement))
    info = (first.info, second.info)
    both.info["total_charge"] = sum(i["total_charge"] for i in info)
    both.info["multiplicity"] = sum(i["multiplicity"] - 1 for i in info) + 1
    return both


def closed_shell(atoms: Atoms) -> Atoms:
    """The same atoms as a neutral singlet, an element being changed where the electron count is odd."""
    result = atoms.copy()
    if int(result.numbers.sum()) % 2:
        odd = [i for i, number in enumerate(result.numbers) if number % 2]
        even = [number for number in set(result.numbers.tolist()) if number % 2 == 0]
        if not even:
            raise ValueError("With only odd elements, give an even number of atoms.")
        result.numbers[odd[0]] = min(even)
    result.info.update(total_charge=0, multiplicity=1)
    return result


def divided(atoms: Atoms) -> Atoms:
    """The same atoms as two fragments, of odd and of even atomic numbers, the former with all of the charge.

    Fragments of this kind don't depend on the order of atoms, and their lowest spins are that of the structure.
    """
    result, odd = atoms.copy(), atoms.numbers % 2 == 1
    charged = odd if odd.any() else ~odd
    result.arrays["fragment"] = odd.astype(np.int64)
    result.arrays["fragment_charge"] = np.where(charged, float(atoms.info["total_charge"]), 0.0)
    return result


def _filled(
    seed: int, num_atoms: int, elements: Sequence[int], cell: np.ndarray, total_charge: int = 0, excited: bool = False
) -> Atoms:
    """Atoms at random places, none closer to another or its images than the minimum distance."""
    vectors = tuple(map(tuple, cell.tolist()))
    return _fill(seed, num_atoms, tuple(elements), vectors, total_charge, excited).copy()


@functools.lru_cache(maxsize=256)  # batteries ask for the same few structures in every test
def _fill(
    seed: int,
    num_atoms: int,
    elements: tuple[int, ...],
    vectors: tuple[tuple[float, ...], ...],
    total_charge: int,
    excited: bool,
) -> Atoms:
    cell = np.array(vectors)
    rng = np.random.default_rng(seed)
    periodic = np.linalg.norm(cell, axis=1) > 0
    numbers = rng.choice(np.asarray(elements), num_atoms)
    box, positions = _box(cell, periodic, num_atoms), np.empty((0, 3))
    for _ in range(_TRIES):
        if len(positions) == num_atoms:
            break
        new = (rng.random(3) - 0.5) @ box
        if _clear(new, positions, cell, periodic):
            positions = np.vstack([positions, new])
    if len(positions) < num_atoms:
        raise ValueError(f"{num_atoms} atoms don't fit into this cell at {MIN_DISTANCE} Å.")
    atoms = Atoms(numbers=numbers, positions=positions, cell=cell, pbc=periodic)
    unpaired = (int(numbers.sum()) - total_charge) % 2 + 2 * excited
    atoms.info.update(total_charge=total_charge, multiplicity=unpaired + 1)
    return atoms


def _box(cell: np.ndarray, periodic: np.ndarray, num_atoms: int) -> np.ndarray:
    """The cell, with open directions orthogonal to the lattice and just wide enough for all atoms."""
    box, num_open = cell.copy(), int((~periodic).sum())
    if num_open:
        lattice = np.prod(np.linalg.norm(cell[periodic], axis=1))
        width = (num_atoms * VOLUME_PER_ATOM / lattice) ** (1 / num_open)
        box[~periodic] = width * np.linalg.svd(cell)[2][3 - num_open :]
    return box


def _clear(new: np.ndarray, positions: np.ndarray, cell: np.ndarray, periodic: np.ndarray) -> bool:
    if not len(positions):
        return True
    _, distances = get_distances(new[None], positions, cell=cell, pbc=periodic)
    return bool(distances.min() > MIN_DISTANCE)
