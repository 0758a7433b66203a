"""Files to structures: keys, units, slices, places, and what is refused."""

import gzip
import time

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from frames_on_file import labelled, methanes, waters, write_extxyz

from eqff.data.atoms import from_atoms, to_atoms
from eqff.data.paths import resolve_paths
from eqff.data.readers.extxyz import split_extxyz
from eqff.data.reading import read_frames, read_set
from eqff.errors import ConfigError, DataError


def plain(atoms: Atoms, **info) -> Atoms:
    """Without calculator, with these keys."""
    bare = Atoms(atoms.numbers, atoms.positions)
    bare.info.update(info)
    return bare


def test_round_trip_through_a_file(tmp_path):
    frames = [*waters(2, group="water", config_type="md"), *methanes(2)]
    frames.append(labelled(bulk("NaCl", "rocksalt", a=5.6), 3))
    path = write_extxyz(tmp_path / "a.extxyz", frames)
    once = read_frames(path)
    twice = read_frames(write_extxyz(tmp_path / "b.extxyz", [to_atoms(frame) for frame in once]))
    for atoms, first, second in zip(frames, once, twice, strict=True):
        assert first.numbers.tolist() == atoms.numbers.tolist()
        assert first.pbc[0].tolist() == atoms.pbc.tolist()
        np.testing.assert_allclose(first.forces, atoms.get_forces(), atol=1e-7)
        assert float(first.energy) == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
        for key, value in first.to_dict().items():
            same = torch.allclose(value, second[key]) if isinstance(value, torch.Tensor) else value == second[key]
            assert same or key == "source", key
    assert once[0].group == "water" and once[0].config_type == "md" and once[2].group == ""


def test_compressed_files_are_read_through_memory(tmp_path):
    """Not from the beginning for each frame: the quickest of three takes what a plain file does, and to unpack it."""
    path = write_extxyz(tmp_path / "a.extxyz", waters(300))
    packed = tmp_path / "b.extxyz.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))

    def seconds(file):
        start = time.process_time()
        assert len(read_frames(file)) == 300
        return time.process_time() - start

    plain, unpacked = (min(seconds(file) for _ in range(3)) for file in (path, packed))
    assert unpacked < 5 * plain


@pytest.mark.parametrize(
    ("part", "expected"),
    [("@:3", [0, 1, 2]), ("@4", [4]), ("@-1", [9]), ("@-2:", [8, 9]), ("@1:8:3", [1, 4, 7]), ("@8:2:-3", [8, 5])],
)
def test_slices(tmp_path, part, expected):
    path = write_extxyz(tmp_path / "a.xyz", waters(10))
    assert [frame.frame for frame in read_frames(f"{path}{part}")] == expected


def test_folders_patterns_and_lists(tmp_path):
    for name, number in (("b.xyz", 1), ("a.extxyz", 2), ("c.extxyz", 3)):
        write_extxyz(tmp_path / name, waters(number))
    (tmp_path / "README.md").write_text("no data")
    assert [path.name for path, _ in resolve_paths(tmp_path)] == ["a.extxyz", "b.xyz", "c.extxyz"]
    assert len(read_frames(str(tmp_path / "*.extxyz"))) == 5
    assert len(read_frames([tmp_path / "b.xyz", f"{tmp_path / 'c.extxyz'}@:2"])) == 3


@pytest.mark.parametrize(
    ("info", "state"),
    [
        ({"total_charge": 1, "multiplicity": 2}, (1, 2)),
        ({"charge": -1, "spin": 2}, (-1, 2)),
        ({"charge": 0, "spin_multiplicity": 3}, (0, 3)),
        ({"charge": 0, "total_charge": 0.0, "spin": 1}, (0, 1)),
    ],
)
def test_charge_and_spin_under_their_common_names(info, state):
    data = from_atoms(plain(waters(1)[0], **info))
    assert (int(data.total_charge), int(data.multiplicity)) == state


def test_charge_and_multiplicity_are_never_guessed():
    atoms = plain(waters(1)[0], energy=-1.0)
    typed = "'data.keys={KEY: total_charge}'.*data.total_charge=NUMBER"
    with pytest.raises(DataError, match=f"the total charge is nowhere given.*keys per structure: energy.*{typed}"):
        from_atoms(atoms)
    with pytest.raises(DataError, match=r"multiplicity \(2S\+1\) is nowhere given.*data.multiplicity=NUMBER; lowest"):
        from_atoms(atoms, total_charge=0)
    assert int(from_atoms(atoms, total_charge=1, multiplicity="lowest").multiplicity) == 2
    said = plain(waters(1)[0], charge=1, spin=2)
    assert int(from_atoms(said, total_charge=0, multiplicity=1).total_charge) == 1  # what the frame says comes first


def test_unpaired_electrons_are_told_from_multiplicities():
    atoms = plain(waters(1)[0], charge=0, spin=2)
    with pytest.raises(DataError, match="'data.keys={KEY: unpaired_electrons}'"):
        from_atoms(atoms)
    assert int(from_atoms(atoms, keys={"spin": "unpaired_electrons"}).multiplicity) == 3


def test_prefixed_keys_are_recognised_and_others_can_be_named():
    atoms = plain(waters(1)[0], charge=0, spin=1, REF_energy=-5.0, my_mu=[0.0, 0.1, 0.2])
    atoms.arrays["DFT_forces"] = np.ones((3, 3))
    data = from_atoms(atoms, keys={"my_mu": "dipole"})
    assert float(data.energy) == -5.0 and data.forces.shape == (3, 3)
    assert data.dipole.tolist() == [[0.0, 0.1, 0.2]]


def test_ambiguous_keys_must_be_decided():
    atoms = plain(waters(1)[0], charge=0, spin=1, REF_energy=-5.0, energy=-4.0)
    with pytest.raises(
        DataError, match="REF_energy and energy may both be.*-5.0.*-4.0.*'data.keys={REF_energy: energy}'"
    ):
        from_atoms(atoms)
    assert float(from_atoms(atoms, keys={"REF_energy": "energy"}).energy) == -5.0
    assert float(from_atoms(atoms, keys={"REF_energy": None}).energy) == -4.0


def test_unknown_keys_suggest(tmp_path):
    path = write_extxyz(tmp_path / "a.extxyz", [plain(waters(1)[0], charge=0, spin=1, E_dft=-5.0)])
    with pytest.raises(DataError, match="no frame of a.extxyz has 'E_dtf'.*Did you mean 'E_dft'"):
        read_frames(path, keys={"E_dtf": "energy"})
    with pytest.raises(ConfigError, match="'E_dft' can't be mapped to 'enrgy'.*Did you mean 'energy'"):
        read_frames(path, keys={"E_dft": "enrgy"})


def test_only_wanted_labels_are_taken():
    atoms = waters(1)[0]
    assert from_atoms(atoms).labels == ("energy", "forces")
    assert from_atoms(atoms, labels=("energy",)).labels == ("energy",)
    assert from_atoms(atoms, labels=()).labels == ()


def test_units_and_signs(tmp_path):
    atoms = plain(waters(1)[0], charge=0, spin=1, energy=-100.0)
    atoms.arrays["gradient"] = np.full((3, 3), 0.5)
    path = write_extxyz(tmp_path / "a.extxyz", [atoms])
    units = {"energy": "kcal/mol", "forces": "-kcal/mol/bohr", "positions": "bohr"}
    data = read_frames(path, keys={"gradient": "forces"}, units=units)[0]
    bohr = 0.529177210903
    assert float(data.energy) == pytest.approx(-100 * 0.0433641042)
    assert float(data.forces[0, 0]) == pytest.approx(-0.5 * 0.0433641042 / bohr)
    np.testing.assert_allclose(data.positions, atoms.positions * bohr, atol=1e-7)


def test_stress_comes_as_a_matrix_in_any_form():
    crystal = bulk("Cu")
    matrix = np.array([[1.0, 0.4, 0.5], [0.4, 2.0, 0.6], [0.5, 0.6, 3.0]])
    for value in (matrix, matrix.ravel(), matrix.ravel()[[0, 4, 8, 5, 2, 1]]):  # Voigt: xx yy zz yz xz xy
        crystal.info["stress"] = value
        data = from_atoms(crystal, total_charge=0, multiplicity="lowest")
        np.testing.assert_allclose(data.stress[0], matrix)


def test_wrong_shape_is_refused():
    atoms = plain(waters(1)[0], charge=0, spin=1, dipole=[1.0, 2.0])
    with pytest.raises(DataError, match=r"'dipole' has shape \(2,\); needed are \(3,\)"):
        from_atoms(atoms)


def test_second_moments_do_not_pass_for_quadrupoles(tmp_path):
    moment = np.diag([1.0, 2.0, 6.0])
    path = write_extxyz(tmp_path / "a.extxyz", [plain(waters(1)[0], charge=0, spin=1, quadrupole=moment)])
    read = read_set(path)
    assert read.frames[0].labels == () and "has a trace (9 e·Å²" in read.notes[0]
    converted = read_frames(path, keys={"quadrupole": "second_moment"})[0].quadrupole[0]
    np.testing.assert_allclose(converted, np.diag([-3.0, -1.5, 4.5]))
    with pytest.raises(DataError, match="has a trace"):
        read_frames(path, keys={"quadrupole": "quadrupole"})


def test_boxes_of_molecules_and_their_stress_are_dropped():
    atoms = labelled(waters(1)[0], 0)
    atoms.set_cell(np.eye(3) * 50)
    atoms.info["stress"] = np.zeros((3, 3))
    data = from_atoms(atoms)
    assert not data.cell.any() and "stress" not in data


def test_keys_that_were_not_read_are_counted(tmp_path):
    frames = waters(3)
    frames[0].info["remark"] = "first"
    read = read_set(write_extxyz(tmp_path / "a.extxyz", frames))
    assert read.unused == {"remark": 1}
    assert read.used["energy", "energy"] == 3


def test_missing_file_names_what_is_there(tmp_path):
    write_extxyz(tmp_path / "train.extxyz", waters(1))
    with pytest.raises(DataError, match="there is no such file.*Did you mean 'train.extxyz'"):
        read_frames(tmp_path / "trian.extxyz")
    with pytest.raises(DataError, match="no folder"):
        read_frames(tmp_path / "nowhere" / "train.extxyz")


def test_broken_and_unknown_files(tmp_path):
    path = write_extxyz(tmp_path / "cut.extxyz", waters(3))
    path.write_text(path.read_text()[:-150])
    with pytest.raises(DataError, match="cut.extxyz: frame . can't be read"):
        read_frames(path)
    packed = tmp_path / "cut.extxyz.gz"
    packed.write_bytes(gzip.compress(b"3\n")[:-4])
    with pytest.raises(DataError, match="cut.extxyz.gz: frame 0 can't be read"):
        read_frames(packed)
    (tmp_path / "a.parquet").write_text("")
    with pytest.raises(DataError, match="can't be read. Known are .*extxyz"):
        read_frames(tmp_path / "a.parquet")
    (tmp_path / "empty.xyz").write_text("")
    with pytest.raises(DataError, match="no frames|can't be read"):
        read_frames(tmp_path / "empty.xyz")


def test_symbols_of_no_element(tmp_path):
    path = write_extxyz(tmp_path / "a.extxyz", waters(2))
    first, second = path.read_text().split("O ", 1)[0], path.read_text()[len(path.read_text().split("O ", 1)[0]) :]
    path.write_text(f"{first}{second.replace('H ', 'D ', 1)}")
    with pytest.raises(DataError, match="frame 0 can't be read: there is no 'D': a symbol that is no element's"):
        read_frames(path)


@pytest.mark.parametrize("key", ["charge", "spin"])
def test_a_charge_or_spin_of_each_atom_is_not_that_of_the_structure(tmp_path, key):
    atoms = plain(waters(1)[0], **({"charge": 0, "spin": 1} | {key: [0.1, 0.2, -0.3]}))
    with pytest.raises(DataError, match=r"should be one number, but has shape \(3,\)"):
        from_atoms(atoms)


def test_links_that_lead_nowhere(tmp_path):
    """Alone, and where nothing else matches a pattern."""
    (tmp_path / "gone.extxyz").symlink_to(tmp_path / "elsewhere.extxyz")
    with pytest.raises(DataError, match="gone.extxyz: this link leads to .*elsewhere.extxyz, which is not there"):
        read_frames(tmp_path / "gone.extxyz")
    with pytest.raises(DataError, match="there is no such file"):
        read_frames(tmp_path / "g*.extxyz")


def test_frames_without_atoms(tmp_path):
    path = write_extxyz(tmp_path / "a.extxyz", waters(2))
    path.write_text(path.read_text() + "0\nProperties=species:S:1:pos:R:3 energy=1.0 charge=0 spin=1\n")
    with pytest.raises(DataError, match="a.extxyz, frame 2: there are no atoms"):
        read_frames(path)


def test_errors_name_file_and_frame(tmp_path):
    frames = waters(4)
    frames[2].info["multiplicity"] = 2
    with pytest.raises(DataError, match=r"/a.extxyz, frame 2: multiplicity 2 is impossible for 10 electrons"):
        read_frames(write_extxyz(tmp_path / "a.extxyz", frames))


def test_shipped_sets_are_found_wherever_eqff_is_installed(tmp_path, monkeypatch):
    (tmp_path / "toy").mkdir()
    write_extxyz(tmp_path / "toy" / "train.extxyz", waters(3))
    monkeypatch.setattr("eqff.data.paths.SHIPPED", tmp_path)
    assert len(read_frames("shipped:toy/train.extxyz@:2")) == 2


def test_empty_lines_between_frames_are_passed_over(tmp_path):
    """ASE takes one for the end of the file: all frames behind it were lost without a word."""
    path = write_extxyz(tmp_path / "a.extxyz", waters(5))
    expected = [frame.positions for frame in read_frames(path)]
    lines = path.read_text().splitlines(keepends=True)
    texts = ["".join(lines[start : start + 5]) for start in range(0, 25, 5)]
    path.write_text("\n" + "\n \n".join(texts) + "\n\n")
    read = read_frames(path)
    assert [frame.frame for frame in read] == [0, 1, 2, 3, 4]
    assert all(torch.equal(frame.positions, one) for frame, one in zip(read, expected, strict=True))
    pieces = split_extxyz(path, 2)
    assert [(piece.first, len(list(piece.records()))) for piece in pieces] == [(0, 2), (2, 2), (4, 1)]


def test_a_key_that_the_user_names_rules_over_what_follows_from_others():
    """Unpaired electrons are recognised by themselves, and say something of the same field."""
    atoms = plain(waters(1)[0], charge=0, unpaired_electrons=0, my_state=3)
    assert int(from_atoms(atoms, keys={"my_state": "multiplicity"}).multiplicity) == 3
    both = plain(waters(1)[0], charge=0, unpaired_electrons=0, spin=3)
    with pytest.raises(DataError, match="spin and unpaired_electrons may both be the multiplicity.*3.0 and 1.0"):
        from_atoms(both)
    assert int(from_atoms(both, keys={"unpaired_electrons": "unpaired_electrons"}).multiplicity) == 1
    both.info["spin"] = 1
    assert int(from_atoms(both).multiplicity) == 1


def test_labels_that_follow_from_keys_are_not_taken_unless_wanted():
    atoms = plain(waters(1)[0], charge=0, spin=1, energy=-1.0, second_moment=np.diag([1.0, 2.0, 6.0]))
    assert from_atoms(atoms).labels == ("energy", "quadrupole")
    assert from_atoms(atoms, labels=("energy",)).labels == ("energy",)
    atoms.info["second_moment"] = [1.0, 2.0, 6.0, 0.0, 0.0, 0.0]
    with pytest.raises(DataError, match=r"'quadrupole' has shape \(6,\); needed are \(3, 3\)"):
        from_atoms(atoms)


def test_results_of_another_geometry_are_no_labels():
    """A calculator keeps them when atoms are moved."""
    atoms = waters(1)[0]
    assert from_atoms(atoms).labels == ("energy", "forces")
    atoms.positions[0] += 0.1
    assert from_atoms(atoms).labels == ()
