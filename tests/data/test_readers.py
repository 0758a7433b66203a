"""Every format gives the same structures as the extxyz file they came from."""

import importlib.util

import ase.db
import h5py
import numpy as np
import pytest
import torch
from ase.io import write
from frames_on_file import methanes, waters, write_extxyz

from eqff.data.atoms import to_atoms
from eqff.data.reading import read_frames
from eqff.errors import DataError

HARTREE, BOHR = 27.211386245988, 0.529177210903
STATE = {"total_charge": 0, "multiplicity": 1}


@pytest.fixture
def frames(tmp_path):
    return read_frames(write_extxyz(tmp_path / "original.extxyz", waters(4)))


def assert_same(first, second):
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        for name in ("numbers", "positions", "cell", "pbc", "total_charge", "multiplicity", "energy", "forces"):
            torch.testing.assert_close(one[name], other[name], rtol=1e-9, atol=1e-9, equal_nan=True)


def stacked(frames, name):
    return np.stack([frame[name].numpy() for frame in frames])


def test_ase_database(tmp_path, frames):
    with ase.db.connect(tmp_path / "a.db") as database:
        for frame in frames:
            atoms = to_atoms(frame)
            state = {key: atoms.info.pop(key) for key in STATE}
            database.write(atoms, key_value_pairs=state, data={"dipole": [0.1, 0.2, 0.3]})
    read = read_frames(tmp_path / "a.db")
    assert_same(read, frames)
    assert read[0].dipole.tolist() == [[0.1, 0.2, 0.3]]


def test_schnetpack_database_states_its_units(tmp_path, frames):
    with ase.db.connect(tmp_path / "a.db") as database:
        units = {"energy": "Hartree", "forces": "Hartree/Bohr"}
        database.metadata = {"_property_unit_dict": units, "_distance_unit": "Bohr"}
        for frame in frames:
            bare = to_atoms(frame)
            bare.calc = None
            bare.positions /= BOHR
            data = {"energy": frame.energy.numpy() / HARTREE, "forces": frame.forces.numpy() * BOHR / HARTREE}
            database.write(bare, key_value_pairs=STATE, data=data)
    assert_same(read_frames(tmp_path / "a.db"), frames)


def test_npz_of_sgdml(tmp_path, frames):
    np.savez(
        tmp_path / "a.npz",
        R=stacked(frames, "positions") / BOHR,
        E=stacked(frames, "energy") / HARTREE,
        F=stacked(frames, "forces") * BOHR / HARTREE,
        z=frames[0].numbers.numpy(),
        e_unit="Hartree",
        r_unit="bohr",
        theory="PBE",
    )
    assert_same(read_frames(tmp_path / "a.npz", **STATE), frames)


def test_npz_without_units_is_refused_until_they_are_said(tmp_path, frames):
    arrays = {"coords": "positions", "energies": "energy", "forces": "forces"}
    content = {key: stacked(frames, name) for key, name in arrays.items()}
    np.savez(tmp_path / "a.npz", nuclear_charges=frames[0].numbers.numpy(), **content)
    with pytest.raises(DataError, match="unit of '.*' is nowhere stated.*'data.units={"):
        read_frames(tmp_path / "a.npz", **STATE)
    units = {"positions": "Å", "energy": "eV", "forces": "eV/Å"}
    assert_same(read_frames(tmp_path / "a.npz", units=units, **STATE), frames)


def test_padded_arrays_and_absent_rows(tmp_path):
    mixed = read_frames(write_extxyz(tmp_path / "original.extxyz", [*waters(1), *methanes(1)]))
    numbers, positions, forces = np.zeros((2, 5), int), np.zeros((2, 5, 3)), np.zeros((2, 5, 3))
    for row, frame in enumerate(mixed):
        numbers[row, : frame.num_nodes] = frame.numbers
        positions[row, : frame.num_nodes] = frame.positions
        forces[row, : frame.num_nodes] = frame.forces
    energy = np.array([float(mixed[0].energy), np.nan])
    np.savez(tmp_path / "a.npz", numbers=numbers, positions=positions, forces=forces, energy=energy)
    units = {"positions": "Å", "energy": "eV", "forces": "eV/Å"}
    read = read_frames(tmp_path / "a.npz", units=units, **STATE)
    assert not read[1].has("energy")
    mixed[1].energy[:] = torch.nan
    assert_same(read, mixed)


def test_hdf5_of_groups_with_gradients(tmp_path, frames):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, part in (("set/b", frames[2:]), ("set/a", frames[:2])):
            group = file.create_group(name)
            group.attrs["charge"] = 0
            group["atomic_numbers"] = part[0].numbers.numpy()
            group["conformations"] = stacked(part, "positions") / BOHR
            group["conformations"].attrs["units"] = "bohr"
            group["dft_total_energy"] = stacked(part, "energy")[:, 0] / HARTREE
            group["dft_total_energy"].attrs["units"] = "hartree"
            group["dft_total_gradient"] = -stacked(part, "forces") * BOHR / HARTREE
    read = read_frames(
        tmp_path / "a.h5",
        keys={"dft_total_gradient": "forces"},
        units={"forces": "-hartree/bohr"},
        multiplicity=1,
    )
    assert_same(read, frames)
    assert [frame.group for frame in read] == ["set/a", "set/a", "set/b", "set/b"]


def test_hdf5_without_structures(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["energies"] = np.zeros(3)
    with pytest.raises(DataError, match="no group of it holds positions.*energies"):
        read_frames(tmp_path / "a.h5")


def test_dipoles_of_three_atoms_are_not_taken_for_atomic_values(tmp_path, frames):
    np.savez(
        tmp_path / "a.npz",
        R=stacked(frames, "positions"),
        z=frames[0].numbers.numpy(),
        dipole=np.arange(12.0).reshape(4, 3),
        mu=np.arange(12.0).reshape(4, 3) + 1,
    )
    units = {"positions": "Å", "dipole": "Debye"}
    read = read_frames(tmp_path / "a.npz", units=units, **STATE)
    named = read_frames(tmp_path / "a.npz", units=units, keys={"mu": "dipole"}, **STATE)
    debye = 0.20819433270935597
    np.testing.assert_allclose(read[1].dipole[0], np.array([3.0, 4.0, 5.0]) * debye)
    np.testing.assert_allclose(named[1].dipole[0], np.array([4.0, 5.0, 6.0]) * debye)


def test_one_structure_without_a_dimension_for_frames(tmp_path, frames):
    """Each array belongs to it, whatever it is that its first dimension counts."""
    frame, charges = frames[0], np.array([-0.8, 0.5, 0.3])
    arrays = {
        "R": frame.positions.numpy(),
        "z": frame.numbers.numpy(),
        "E": np.array(float(frame.energy)),
        "F": frame.forces.numpy(),
        "dipole": np.array([0.1, 0.2, 0.3]),
        "charges": charges,
    }
    np.savez(tmp_path / "a.npz", **arrays)
    units = {"positions": "Å", "energy": "eV", "forces": "eV/Å", "charges": "e", "dipole": "e*Å"}
    read = read_frames(tmp_path / "a.npz", units=units, **STATE)
    assert_same(read, frames[:1])
    np.testing.assert_array_equal(read[0].charges, charges)
    np.testing.assert_array_equal(read[0].dipole[0], [0.1, 0.2, 0.3])
    np.savez(tmp_path / "b.npz", **{key: value if key in "Rz" else value[None] for key, value in arrays.items()})
    assert_same(read_frames(tmp_path / "b.npz", units=units, **STATE), frames[:1])


@pytest.mark.parametrize(
    ("key", "shape"), [("E", (3,)), ("F", (3, 3, 3)), ("forces", (3, 3, 3)), ("charges", (2,)), ("dipole", (2, 3))]
)
def test_labels_of_another_number_of_frames_are_refused(tmp_path, frames, key, shape):
    """They were left out without a word once; what is no label still may have any shape."""
    arrays = {"R": stacked(frames, "positions"), "z": frames[0].numbers.numpy(), "mask": np.ones(7)}
    units = {"positions": "Å", "energy": "eV", "forces": "eV/Å", "charges": "e", "dipole": "e*Å"}
    np.savez(tmp_path / "good.npz", **arrays)
    assert len(read_frames(tmp_path / "good.npz", units=units, **STATE)) == 4
    np.savez(tmp_path / "bad.npz", **arrays, **{key: np.ones(shape)})
    with pytest.raises(DataError, match=rf"has shape \({shape[0]},.*needed"):
        read_frames(tmp_path / "bad.npz", units=units, **STATE)
    assert len(read_frames(tmp_path / "bad.npz", units=units, keys={key: None}, **STATE)) == 4


def test_molecules_one_after_the_other_are_no_single_structure(tmp_path, frames):
    flat = {name: np.concatenate([frame[name].numpy() for frame in frames]) for name in ("positions", "numbers")}
    flat["positions"] += 5.0 * np.repeat(np.arange(4), 3)[:, None]
    np.savez(tmp_path / "a.npz", **flat, E=stacked(frames, "energy")[:, 0])
    with pytest.raises(DataError, match="'energy' has shape.*needed is one for 12 atoms"):
        read_frames(tmp_path / "a.npz", units={"positions": "Å", "energy": "eV"}, **STATE)


@pytest.mark.parametrize("name", ["cell", "lattice"])
def test_lattice_vectors_of_arrays(tmp_path, frames, name):
    cell = np.diag([8.0, 9.0, 10.0])
    arrays = {"R": stacked(frames, "positions"), "z": frames[0].numbers.numpy()}
    for form in (cell, np.broadcast_to(cell, (4, 3, 3))):
        np.savez(tmp_path / "a.npz", **arrays, **{name: form})
        read = read_frames(tmp_path / "a.npz", units={"positions": "Å"}, **STATE)
        assert all(frame.pbc.all() and np.array_equal(frame.cell[0], cell) for frame in read)
    np.savez(tmp_path / "b.npz", **arrays, **{name: np.ones((4, 3))})
    with pytest.raises(DataError, match=rf"'{name}' has shape \(4, 3\); lattice vectors are"):
        read_frames(tmp_path / "b.npz", units={"positions": "Å"}, **STATE)


def test_words_of_all_frames_of_a_group(tmp_path, frames):
    """HDF5 gives them as bytes; as text of bytes they would name another level of theory."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group("a")
        group["atomic_numbers"], group["conformations"] = frames[0].numbers.numpy(), stacked(frames, "positions")
        group["theory"], group["subset"] = "pbe", np.array([b"waters"])
    read = read_frames(tmp_path / "a.h5", units={"positions": "Å"}, **STATE)
    assert {(frame.level_of_theory, frame.config_type) for frame in read} == {("pbe", "waters")}


def test_trajectory(tmp_path, frames):
    write(tmp_path / "a.traj", [to_atoms(frame) for frame in frames])
    assert_same(read_frames(tmp_path / "a.traj", **STATE), frames)


def test_lmdb_databases_name_the_package_that_reads_them(tmp_path):
    if importlib.util.find_spec("ase_db_backends"):
        pytest.skip("ase-db-backends is installed")
    (tmp_path / "a.aselmdb").touch()
    with pytest.raises(DataError, match="a.aselmdb: .*pip install ase-db-backends"):
        read_frames(tmp_path / "a.aselmdb")


def test_lmdb_databases(tmp_path):
    pytest.importorskip("ase_db_backends")
    with ase.db.connect(str(tmp_path / "a.aselmdb")) as database:
        for atoms in waters(3):
            database.write(atoms, key_value_pairs={"total_charge": 0, "multiplicity": 1})
    read = read_frames(tmp_path / "a.aselmdb")
    assert [frame.labels for frame in read] == 3 * [("energy", "forces")]


def test_lattice_vectors_in_a_unit_of_their_own(tmp_path, frames):
    """They were taken in that of the positions."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["atomic_numbers"] = frames[0].numbers.numpy()
        for key, values, unit in (
            ("positions", stacked(frames, "positions"), "angstrom"),
            ("lattice", np.eye(3) / BOHR * 9, "bohr"),
        ):
            file[key] = values
            file[key].attrs["units"] = unit
    for units, length in ((None, 9.0), ({"cell": "nm"}, 90.0 / BOHR)):
        read = read_frames(tmp_path / "a.h5", units=units, **STATE)
        np.testing.assert_allclose(read[0].cell[0], np.eye(3) * length, rtol=1e-9)
        np.testing.assert_allclose(read[0].positions, frames[0].positions)
