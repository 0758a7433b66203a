"""The structure that a simulation starts from, as its file has it."""

import numpy as np
import pytest

from eqff.data.readers import extxyz
from eqff.errors import DataError
from eqff.simulation import SimulationSettings, read_structure
from eqff.testing.structures import molecule


@pytest.fixture
def file(tmp_path):
    """A frame with masses and momenta of its own, twice, with an empty line between: there ASE takes a file to end."""
    atoms = molecule(1, 5)
    atoms.set_masses(atoms.get_masses() * 2.0)
    atoms.set_momenta(np.ones((5, 3)))
    atoms.write(tmp_path / "a.extxyz")
    text = (tmp_path / "a.extxyz").read_text()
    (tmp_path / "a.extxyz").write_text(f"{text}\n{text}")
    return tmp_path / "a.extxyz", atoms


def test_it_is_read_once_and_whole(file, monkeypatch):
    path, atoms = file
    opened, whole = [], extxyz.read_piece
    monkeypatch.setattr(extxyz, "read_piece", lambda *arguments: opened.append(arguments[0]) or whole(*arguments))
    start = read_structure(SimulationSettings(structure=f"{path}@1", velocities="structure"))
    assert opened == [path]
    for name in ("masses", "momenta"):
        np.testing.assert_array_equal(start.arrays[name], atoms.arrays[name])


def test_several_files_of_which_one_has_that_frame(file):
    path, atoms = file
    atoms.write(path.with_name("b.extxyz"))
    start = read_structure(SimulationSettings(structure=f"{path.parent}/*.extxyz@1"))
    np.testing.assert_allclose(start.positions, atoms.positions)
    with pytest.raises(DataError, match="names 2 frames"):
        read_structure(SimulationSettings(structure=f"{path.parent}/*.extxyz@0"))
