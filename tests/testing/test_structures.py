"""The battery's structures are what the checks take them for."""

import numpy as np
import pytest

from eqff.testing.structures import (
    MIN_DISTANCE,
    closed_shell,
    crystal,
    joined,
    molecule,
    one_of_each,
    transformed,
)


@pytest.mark.parametrize("elements", [(1, 6, 7, 8), (14,), (1, 3, 53)], ids=str)
def test_no_overlaps_and_possible_spins(elements):
    for name, atoms in one_of_each(elements).items():
        distances = atoms.get_all_distances(mic=True)[~np.eye(len(atoms), dtype=bool)]
        assert distances.min(initial=np.inf) > MIN_DISTANCE, name
        assert set(atoms.numbers) <= set(elements)
        electrons = int(atoms.numbers.sum()) - atoms.info["total_charge"]
        assert (electrons - (atoms.info["multiplicity"] - 1)) % 2 == 0


def test_every_periodicity_and_several_states():
    structures = one_of_each().values()
    assert {int(atoms.pbc.sum()) for atoms in structures} == {0, 1, 2, 3}
    assert {atoms.info["total_charge"] for atoms in structures} == {-1, 0, 1}
    assert max(atoms.info["multiplicity"] for atoms in structures) >= 3


def test_open_directions_have_no_lattice_vector():
    for atoms in one_of_each().values():
        assert np.array_equal(np.linalg.norm(atoms.cell, axis=1) > 0, atoms.pbc)


def test_same_seed_same_structure():
    assert crystal(3) == crystal(3)
    assert crystal(3) != crystal(4)


def test_transformed_keeps_fractional_coordinates():
    atoms, matrix = crystal(5), np.array([[1.1, 0.2, 0], [0, 0.9, 0.1], [0, 0, 1]])
    before, after = (a.cell.scaled_positions(a.positions) for a in (atoms, transformed(atoms, matrix)))
    np.testing.assert_allclose(after, before, atol=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_closed_shell(seed):
    atoms = closed_shell(molecule(seed, 6))
    assert atoms.numbers.sum() % 2 == 0 and atoms.info["multiplicity"] == 1


def test_joined_adds_charges_and_unpaired_electrons():
    both = joined(molecule(1, total_charge=1), molecule(2, total_charge=-2, excited=True), [20, 0, 0])
    parts = (
        molecule(1, total_charge=1).info["multiplicity"]
        + molecule(2, total_charge=-2, excited=True).info["multiplicity"]
    )
    assert both.info["total_charge"] == -1 and both.info["multiplicity"] == parts - 1
