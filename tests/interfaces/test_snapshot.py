"""Atoms as they were: equal to ASE's own copy, whatever happens to them later."""

import numpy as np
import pytest
from ase import Atoms
from ase.constraints import FixAtoms

from eqff.interfaces.snapshot import Snapshot


@pytest.fixture
def atoms():
    made = Atoms("OH2", np.eye(3), cell=[4, 5, 6], pbc=(True, False, True), info={"total_charge": 0})
    made.set_momenta(np.ones((3, 3)))
    made.set_celldisp([0.1, 0.2, 0.3])
    made.set_constraint(FixAtoms([1]))
    return made


def changed(atoms):
    atoms.positions += 1.0
    atoms.cell[:] = np.eye(3)
    atoms.pbc = False
    atoms.numbers[:] = 6
    atoms.info["total_charge"] = 1
    atoms.set_momenta(np.zeros((3, 3)))
    atoms.set_constraint()


def test_it_is_the_copy_of_then(atoms):
    expected, snapshot = atoms.copy(), Snapshot(atoms)
    changed(atoms)
    assert snapshot.atoms == expected
    assert snapshot.atoms.info == expected.info
    np.testing.assert_array_equal(snapshot.atoms.get_momenta(), expected.get_momenta())
    np.testing.assert_array_equal(snapshot.atoms.get_celldisp(), expected.get_celldisp())
    np.testing.assert_array_equal(snapshot.atoms.constraints[0].index, [1])
    assert snapshot.atoms.calc is None


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("positions", lambda atoms: atoms.positions.__setitem__((0, 0), np.nextafter(1.0, 2.0))),
        ("numbers", lambda atoms: atoms.numbers.__setitem__(0, 16)),
        ("cell", lambda atoms: atoms.cell.__setitem__((0, 1), 1e-9)),
        ("pbc", lambda atoms: atoms.pbc.__setitem__(1, True)),
    ],
)
def test_changes_are_named(atoms, name, change):
    snapshot = Snapshot(atoms)
    assert snapshot.changes(atoms) == []
    change(atoms)
    assert snapshot.changes(atoms) == [name]


def test_another_number_of_atoms_is_a_change(atoms):
    snapshot = Snapshot(atoms)
    del atoms[2]
    assert snapshot.changes(atoms) == ["positions", "numbers"]
