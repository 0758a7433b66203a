"""Structures and files that several tests of the data path share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write


def labelled(atoms: Atoms, seed: int, charge: int = 0, multiplicity: int = 1, **info) -> Atoms:
    """The structure with random energy and forces (summing to zero) as a calculator would leave them."""
    rng = np.random.default_rng(seed)
    forces = rng.normal(size=(len(atoms), 3))
    atoms.info.update(total_charge=charge, multiplicity=multiplicity, **info)
    atoms.calc = SinglePointCalculator(
        atoms, energy=-13.6 * len(atoms) + rng.normal(), forces=forces - forces.mean(axis=0)
    )
    return atoms


def waters(number: int, seed: int = 0, **info) -> list[Atoms]:
    """Distorted water molecules."""
    rng = np.random.default_rng(seed)
    base = np.array([[0.0, 0.0, 0.12], [0.0, 0.76, -0.47], [0.0, -0.76, -0.47]])
    structures = [Atoms("OH2", base + 0.05 * rng.normal(size=(3, 3))) for _ in range(number)]
    return [labelled(atoms, index + 100 * seed, **info) for index, atoms in enumerate(structures)]


def methanes(number: int, seed: int = 1, **info) -> list[Atoms]:
    """Distorted methane molecules."""
    rng = np.random.default_rng(seed)
    base = 0.63 * np.array([[0.0, 0, 0], [1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    structures = [Atoms("CH4", base + 0.05 * rng.normal(size=(5, 3))) for _ in range(number)]
    return [labelled(atoms, index + 100 * seed, **info) for index, atoms in enumerate(structures)]


def write_extxyz(path: Path, frames: list[Atoms]) -> Path:
    """Writes an extxyz file and returns its path."""
    write(path, frames, format="extxyz")
    return path
