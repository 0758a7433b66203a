"""Labels of responses in files: Born charges in either order of indices, moments and polarizabilities of atoms."""

import numpy as np
import pytest
from ase.io import write

from eqff.data.atoms import from_atoms, to_atoms
from eqff.data.reading import read_frames
from eqff.errors import DataError
from eqff.testing.structures import molecule


@pytest.fixture
def file(tmp_path):
    atoms = molecule(1, 4)
    atoms.arrays["bec"] = np.arange(36.0).reshape(4, 9)
    atoms.arrays["volume_ratios"] = np.linspace(0.7, 1.1, 4)
    atoms.arrays["atomic_dipoles"] = np.ones((4, 3))
    write(tmp_path / "x.extxyz", atoms)
    return tmp_path / "x.extxyz"


def test_born_charges_in_both_orders(file):
    """bec[3a + b] = d mu_b / d r_a is eqff's; other programs write field before displacement."""
    (own,) = read_frames(file, keys={"bec": "born_charges"})
    (other,) = read_frames(file, keys={"bec": "born_charges_transposed"})
    assert own.born_charges[1, 0, 2] == 11.0 and own.born_charges[1, 2, 0] == 15.0
    np.testing.assert_array_equal(other.born_charges, own.born_charges.transpose(1, 2))


def test_born_charges_are_not_guessed(file):
    """The key does not say which index is which, so it is read only where the user does."""
    (frame,) = read_frames(file)
    assert not frame.has("born_charges") and frame.has("volume_ratios") and frame.has("atomic_dipoles")


def test_they_survive_ase(file):
    (frame,) = read_frames(file, keys={"bec": "born_charges"})
    again = from_atoms(to_atoms(frame))
    for name in ("born_charges", "volume_ratios", "atomic_dipoles"):
        np.testing.assert_array_equal(again[name], frame[name])


def test_wrong_shapes_are_named(file):
    with pytest.raises(DataError, match=r"'atomic_polarizabilities' has shape"):
        read_frames(file, keys={"atomic_dipoles": "atomic_polarizabilities"})
