"""Fragments of an ASE structure: those that it states, or sets of bonded atoms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from ase import Atoms

from eqff.data.neighbours import neighbour_pairs
from eqff.errors import DataError
from eqff.heads.molecules import BondRule, first_atoms

FRAGMENT = "fragment"
"""The array of a structure that states its fragments."""


def stated_fragments(atoms: Atoms) -> np.ndarray:
    """Numbers of fragments as ``atoms.arrays`` has them, counted from 0 without gaps, (N,) int64.

    Raises:
        DataError: There are none, or they are no numbers.
    """
    number = atoms.arrays.get(FRAGMENT)
    if number is not None and number.dtype.kind not in "biuf":
        raise DataError(
            f"{atoms.get_chemical_formula()}: atoms.arrays['{FRAGMENT}'] should be numbers, but is {number!r}. Number "
            "them: np.unique(names, return_inverse=True)[1]."
        )
    if number is None or np.any(number < 0):
        raise DataError(
            f"{atoms.get_chemical_formula()} states no fragments: give atoms.arrays['{FRAGMENT}'] a number for each "
            "atom, or let them follow from bonds (source=bonds)."
        )
    return np.unique(number, return_inverse=True)[1].astype(np.int64)


def bonded_fragments(atoms: Atoms, stretch: float = 1.25, alone: Sequence[str | int] = ()) -> np.ndarray:
    """Numbers of sets of bonded atoms, counted from 0, (N,) int64; bonds as in `eqff.heads.molecules.Molecules`.

    Args:
        atoms: In a periodic structure bonds cross its boundaries.
        stretch: Bonds are shorter than this times the sum of covalent radii.
        alone: Elements without bonds, by symbol or atomic number.
    """
    rule = BondRule.of(sorted(set(atoms.numbers.tolist())), stretch, alone)
    sender, receiver, shift = neighbour_pairs(atoms.positions, atoms.cell.array, atoms.pbc, rule.longest)
    vectors = atoms.positions[sender] - atoms.positions[receiver] + shift @ atoms.cell.array
    radii = rule.radii.numpy()[atoms.numbers]
    bonds = np.linalg.norm(vectors, axis=1) < radii[sender] + radii[receiver]
    first = first_atoms(torch.from_numpy(sender[bonds]), torch.from_numpy(receiver[bonds]), len(atoms))
    return np.unique(first.numpy(), return_inverse=True)[1].astype(np.int64)
