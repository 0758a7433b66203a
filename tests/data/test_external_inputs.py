"""External charges' way from files and atoms through sets, caches and batches to the model."""

import numpy as np
import pytest
import torch
from ase.io import write
from ase.io.trajectory import Trajectory

from eqff.data.atoms import from_atoms, to_atoms
from eqff.data.cache import cached_set
from eqff.data.columns import Columns
from eqff.data.frame_sequence import MemoryFrames
from eqff.data.graph import graph_from_batch
from eqff.data.reading import Reading, read_frames, read_set
from eqff.data.statistics import content_hash
from eqff.errors import DataError
from eqff.testing.structures import among_charges, molecule


def _frames():
    """Among many charges, few, none; three of them look like a matrix to some formats."""
    structures = [among_charges(molecule(n), n, count, 0.1 * n) for n, count in ((1, 4), (2, 1), (3, 3))]
    return [structures[0], molecule(4), *structures[1:], molecule(5, 3)]


def _assert_same(one, other):
    for name in ("positions", "charges", "widths", "batch"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name), rtol=0, atol=1e-7)


def _expected(structures):
    having = [(n, atoms.info) for n, atoms in enumerate(structures) if "external_charges" in atoms.info]
    return {
        "positions": np.concatenate([info["external_positions"] for _, info in having]),
        "charges": np.concatenate([info["external_charges"] for _, info in having]),
        "batch": np.concatenate([np.full(len(info["external_charges"]), n) for n, info in having]),
    }


@pytest.mark.parametrize("name", ["x.extxyz", "x.traj", "x.db"])
def test_from_a_file_through_batches_to_the_graph(tmp_path, name):
    structures = _frames()
    if name.endswith(".traj"):
        with Trajectory(tmp_path / name, "w") as file:
            for atoms in structures:
                file.write(atoms)
    elif name.endswith(".db"):
        from ase.db import connect

        with connect(tmp_path / name) as database:
            for atoms in structures:
                data = {key: value for key, value in atoms.info.items() if key.startswith("external")}
                state = {key: int(atoms.info[key]) for key in ("total_charge", "multiplicity")}
                database.write(atoms, data=data, key_value_pairs=state)
    else:
        write(tmp_path / name, structures)
    frames = MemoryFrames(read_frames(tmp_path / name, labels=()))
    external = graph_from_batch(frames.batch(range(len(frames))), torch.float64).external
    for key, value in _expected(structures).items():
        np.testing.assert_allclose(getattr(external, key).numpy(), value, atol=1e-7)
    assert graph_from_batch(frames.batch([1, 4]), torch.float64).external is None


def test_rows_without_numbers_fill_up_arrays(tmp_path):
    positions = np.stack([molecule(n, 3).positions for n in (1, 2)])
    places = np.full((2, 3, 3), np.nan)
    places[0, :2], places[1] = 6.0 + np.arange(6).reshape(2, 3), 9.0 + np.arange(9).reshape(3, 3)
    charges = np.array([[0.1, -0.2, np.nan], [0.3, 0.4, -0.5]])
    arrays = {"external_positions": places, "external_charges": charges, "external_widths": np.full((2, 3), 0.2)}
    state = {"total_charge": np.zeros(2), "multiplicity": np.ones(2)}
    np.savez(tmp_path / "x.npz", R=positions, z=np.array([8, 1, 1]), **arrays, **state)
    units = {"positions": "bohr", "external_charges": "e"}
    frames = read_frames(tmp_path / "x.npz", units=units, labels=())
    assert [len(frame.external_charges) for frame in frames] == [2, 3]
    # in the unit of positions, where none of their own is stated
    np.testing.assert_allclose(frames[0].external_positions, 0.529177210903 * places[0, :2])
    np.testing.assert_allclose(frames[1].external_widths, 0.2 * 0.529177210903)


def test_a_cache_holds_what_memory_holds(tmp_path):
    write(tmp_path / "x.extxyz", _frames())
    reading = Reading(labels=())
    memory = MemoryFrames(read_set(tmp_path / "x.extxyz", reading).frames)
    cached = cached_set(tmp_path / "x.extxyz", reading, tmp_path / "cache", 1).frames
    assert content_hash(memory) == content_hash(cached)
    np.testing.assert_array_equal(memory.fingerprints(), cached.fingerprints())
    for index in range(len(memory)):
        one, other = memory[index], cached[index]
        assert set(one.keys()) == set(other.keys())
    for chosen in ([0, 1, 2, 3, 4], [3, 0], [4, 2]):
        one, other = (graph_from_batch(frames.batch(chosen), torch.float64).external for frames in (memory, cached))
        _assert_same(one, other)
    assert graph_from_batch(cached.batch([4, 1]), torch.float64).external is None


def test_to_ase_and_back():
    frame = from_atoms(_frames()[0])
    again = from_atoms(to_atoms(frame))
    for name in ("external_positions", "external_charges", "external_widths", "external_count"):
        torch.testing.assert_close(again[name], frame[name])
    assert not any(key.startswith("external") for key in to_atoms(from_atoms(molecule(1))).info)


def test_they_tell_structures_apart():
    """The same geometry among other charges is another structure; without any, hashes are those of before."""
    plain, around = from_atoms(molecule(1)), from_atoms(among_charges(molecule(1), 1))
    other = from_atoms(among_charges(molecule(1), 1))
    other.external_charges = other.external_charges * 1.5
    hashes = {content_hash([frame]) for frame in (plain, around, other)}
    prints = {int(MemoryFrames([frame]).fingerprints()[0]) for frame in (plain, around, other)}
    assert len(hashes) == len(prints) == 3
    assert Columns.of([plain, around]).stated("external_charges").tolist() == [False, True]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"external_positions": None}, "without external_positions"),
        ({"external_charges": None}, "without external_charges"),
        ({"external_charges": [0.1, 0.2]}, "2 external_charges"),
        ({"external_widths": [0.1, 0.2, 0.3, -0.1]}, "negative"),
        ({"external_positions": np.zeros(7)}, "'external_positions' has shape"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    atoms = among_charges(molecule(1), 1, 4)
    atoms.info = {key: value for key, value in (atoms.info | change).items() if value is not None}
    with pytest.raises(DataError, match=message):
        from_atoms(atoms)


def test_a_charge_that_is_no_number_is_refused(tmp_path):
    atoms = among_charges(molecule(1), 1, 4)
    atoms.info["external_charges"][1] = np.nan
    write(tmp_path / "x.extxyz", atoms)
    with pytest.raises(DataError, match="external_charges has 1 number"):
        read_frames(tmp_path / "x.extxyz", labels=())
