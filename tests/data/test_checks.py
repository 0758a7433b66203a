"""Data that must not be trained on."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from frames_on_file import labelled, waters, write_extxyz

from eqff.data.atomic_data import fill_missing_labels
from eqff.data.atoms import from_atoms
from eqff.data.checks import check_frame
from eqff.data.reading import read_frames
from eqff.data.set_checks import check_required, check_set
from eqff.errors import DataError


def structures(atoms):
    frames = [from_atoms(one) for one in atoms]
    fill_missing_labels(frames)
    return frames


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_are_refused_with_their_place(tmp_path, value):
    frames = waters(3)
    frames[1].calc.results["forces"][2, 1] = value
    with pytest.raises(DataError, match=r"a.extxyz, frame 1: forces has 1 number.*first at \[2, 1\]"):
        read_frames(write_extxyz(tmp_path / "a.extxyz", frames))
    broken = structures(waters(1))[0]
    broken.positions[0, 0] = value
    with pytest.raises(DataError, match="positions has 1 number"):
        check_frame(broken)


def test_coinciding_atoms():
    atoms = Atoms("H2", positions=[[0, 0, 0], [0, 0.02, 0]])
    with pytest.raises(DataError, match=r"atoms 0 \(Z=1\) and 1 \(Z=1\) are 0.0200 Å apart\. Is"):
        check_frame(from_atoms(atoms, total_charge=0, multiplicity=1))


@pytest.mark.parametrize("offset", [(1, 0, 0), (0, -2, 1)])
def test_coinciding_atoms_through_the_boundary(offset):
    crystal = bulk("NaCl", "rocksalt", a=5.6) + Atoms("Na", positions=[[0.01, 0, 0]])
    crystal.positions[2] += np.array(offset) @ crystal.cell.array
    with pytest.raises(DataError, match="atoms 0 .Z=11. and 2 .Z=11. are 0.0100 Å apart through the periodic"):
        check_frame(from_atoms(crystal, total_charge=0, multiplicity="lowest"))


def test_an_atom_may_not_coincide_with_its_own_image():
    flat = Atoms("Cu", positions=[[0, 0, 0]], cell=[0.05, 3, 3], pbc=True)
    with pytest.raises(DataError, match="0.0500 Å"):
        check_frame(from_atoms(flat, total_charge=0, multiplicity=2))


def test_any_shortest_distance_can_be_asked_for():
    copper = from_atoms(bulk("Cu"), total_charge=0, multiplicity=2)
    check_frame(copper, min_distance=2.5)
    with pytest.raises(DataError, match="2.5527 Å apart through the periodic boundary"):
        check_frame(copper, min_distance=2.6)


def test_good_structures_pass():
    for atoms in (waters(1)[0], labelled(bulk("Cu"), 0, multiplicity=2), Atoms("H", positions=[[0, 0, 0]])):
        check_frame(from_atoms(atoms, total_charge=0, multiplicity="lowest"))


@pytest.mark.parametrize("label", ["energy", "forces"])
def test_labels_that_are_zero_throughout_are_refused(label):
    frames = structures(waters(4))
    for frame in frames:
        frame[label] = torch.zeros_like(frame[label])
    with pytest.raises(DataError, match=f"'{label}' is exactly zero in all 4 frames"):
        check_set(frames)


def test_some_zero_forces_are_told():
    frames = structures(waters(4))
    frames[2].forces.zero_()
    assert any("forces: exactly zero in 1 frames" in note for note in check_set(frames))


def test_zeros_that_are_right():
    atoms = [labelled(Atoms("H", positions=[[0, 0, 0]]), i, multiplicity=2) for i in range(3)]
    assert check_set(structures(atoms)) == []
    closed = structures(waters(3))
    for frame in closed:
        frame.spin_charges = torch.zeros(3, dtype=torch.float64)
    assert check_set(closed) == []
    closed[0].multiplicity[:] = 3
    with pytest.raises(DataError, match="'spin_charges' is exactly zero"):
        check_set(closed)


def test_missing_labels_list_what_there_is():
    frames = structures(waters(2))
    check_required(frames, ("energy", "forces"))
    with pytest.raises(DataError, match="has 'dipole'. Labels found: energy, forces; keys not read: mu"):
        check_required(frames, ("dipole",), ["mu"])
    without = r"'data\.require=\[energy,forces\]' training\.losses\.dipole=null$"
    with pytest.raises(DataError, match=without):
        check_required(frames, ("energy", "dipole", "forces"))


def test_sums_that_do_not_add_up_are_told():
    frames = structures(waters(3))
    for frame in frames:
        frame.charges = torch.tensor([-0.8, 0.4, 0.4], dtype=torch.float64)
    assert check_set(frames) == []
    frames[1].charges[0] += 0.3
    frames[2].forces[0] += 1.0
    notes = check_set(frames)
    assert any("charges don't sum to the total charge in 1 frames, by up to 0.3 e" in note for note in notes)
    assert any("forces don't sum to zero in 1 frames, by up to 1 eV/Å" in note for note in notes)


def test_forces_need_not_sum_to_zero_in_surroundings():
    """External charges pull at a structure; a uniform field at an ion, by Q F."""
    around, ion, wrong = waters(3)
    around.info.update(external_positions=[[9.0, 0.0, 0.0]], external_charges=[1.0])
    around.calc.results["forces"][0] += 0.3
    for atoms in (ion, wrong):
        atoms.info.update(total_charge=1, multiplicity=2, electric_field=[0.0, 0.0, 0.2])
    ion.calc.results["forces"][0, 2] += 0.2
    (note,) = check_set(structures([around, ion, wrong]))
    assert "forces don't sum to zero in 1 frames, by up to 0.2 eV/Å" in note


def test_sums_of_charges_are_told_structure_by_structure():
    """The five worst by name; how far is too far can be set."""
    frames = structures(waters(8))
    for index, frame in enumerate(frames):
        frame.charges = torch.tensor([-0.8 + 0.009 * index, 0.4, 0.4], dtype=torch.float64)
    (note,) = check_set(frames)
    assert "in 5 frames, by up to 0.063 e (" in note and note.count("frame ") == 5 and "..." not in note
    assert note.index("0.063 e") < note.index("0.036 e") < note.index("0.027 e")
    (note,) = check_set(frames, charge_tolerance=0.005)
    assert "in 7 frames" in note and note.count("frame ") == 5 and ", ...; told from 0.005 e on" in note
    assert check_set(frames, charge_tolerance=0.1) == []
