"""The shipped waters: centroids that have the labelled dipole, and sets that share no structure."""

import ase.io
import numpy as np
import pytest

from eqff.data.paths import SHIPPED
from eqff.data.reading import read_frames

SETS = ("train", "val", "test", "test_far", "dissociation")


@pytest.mark.parametrize("name", SETS)
def test_centroids_have_the_dipole(name):
    """With the charges of the card, but for six decimals of each displacement."""
    for frame in read_frames(f"shipped:water/{name}.extxyz.gz"):
        oxygen, positions = frame.numbers.numpy() == 8, frame.positions.numpy()
        moved = frame.wannier_displacements.numpy()
        dipole = np.where(oxygen, 6, 1) @ positions + np.where(oxygen, -8, 0) @ (positions + moved)
        assert np.abs(dipole - frame.dipole.numpy()).max() < 3e-5
        assert not moved[~oxygen].any() and np.linalg.norm(moved[oxygen], axis=1).min() > 0.05


def test_no_structure_is_in_two_sets():
    seen = {}
    for name in SETS:
        for atoms in ase.io.read(SHIPPED / "water" / f"{name}.extxyz.gz", ":", format="extxyz"):
            assert seen.setdefault(atoms.positions.tobytes(), name) == name
    assert len(seen) == 156
