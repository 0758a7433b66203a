"""tools/make_labels.py: states are checked, restarts lose nothing, failures are told, labels mean what they say."""

import gzip
import json
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import Calculator, all_changes

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture
def labels(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    import make_labels

    return make_labels


class Springs(Calculator):
    """Point charges q = Q/N held by springs to the origin; fails for frames of three atoms or more."""

    implemented_properties = ["energy", "forces", "dipole", "charges"]
    calls = 0

    def __init__(self, total=0, about_center=False):
        super().__init__()
        self.total, self.about_center = total, about_center

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        type(self).calls += 1
        if len(atoms) > 2:
            raise RuntimeError("too many atoms")
        charges = np.full(len(atoms), self.total / len(atoms))
        origin = atoms.positions.mean(0) if self.about_center else 0.0
        self.results = {
            "energy": float((atoms.positions**2).sum() / 2),
            "forces": -atoms.positions,
            "charges": charges,
            "dipole": charges @ (atoms.positions - origin),
        }


def frame(name="H2", charge=0, multiplicity=1, shift=0.0):
    atoms = molecule(name)
    atoms.positions += shift
    atoms.info.update(total_charge=charge, multiplicity=multiplicity, group=name)
    return atoms


def springs(labels, **options):
    return labels.Settings("ase", options, f"{__name__}:Springs", charge_option="total")


def test_missing_state_is_an_error(labels):
    with pytest.raises(labels.LabelError, match="frame 1: no info key 'total_charge'.*--total-charge"):
        labels.prepare([frame(), molecule("H2O")])
    assert labels.prepare([molecule("CH3")], charge=0, multiplicity=2)[0].info["multiplicity"] == 2


@pytest.mark.parametrize(("charge", "multiplicity"), [(0, 2), (1, 1), (0, 0), (0, 13), (-1, 3)])
def test_impossible_multiplicity_names_frame_and_numbers(labels, charge, multiplicity):
    with pytest.raises(labels.LabelError, match=rf"frame 0 \(H2O\): multiplicity {multiplicity} .* {10 - charge} elec"):
        labels.prepare([frame("H2O", charge, multiplicity)])


def test_no_electrons_left(labels):
    with pytest.raises(labels.LabelError, match="leaves 0 electrons"):
        labels.prepare([frame("H2", 2, 1)])


def test_unknown_option_and_method_are_errors(labels):
    with pytest.raises(labels.LabelError, match="unknown option 'accuracyy'"):
        labels.Settings("gfn2", {"accuracyy": 1})
    with pytest.raises(labels.LabelError, match="belong together"):
        labels.Settings("ase")


def test_round_trip_keeps_every_key(labels, tmp_path):
    output = tmp_path / "a.extxyz.gz"
    labels.label_frames(labels.prepare([frame("H2", -1, 2)]), output, springs(labels), workers=0)
    assert b":charges:R:1" in gzip.decompress(output.read_bytes()), "plain key, not ASE's 'charge'"
    (read,) = labels.read_frames(output)
    assert read.info["total_charge"] == -1 and read.info["multiplicity"] == 2 and read.info["group"] == "H2"
    results = read.calc.results
    assert results["energy"] == pytest.approx((molecule("H2").positions ** 2).sum() / 2, abs=1e-8)
    assert np.allclose(results["charges"], -0.5) and results["dipole"].shape == (3,)
    assert np.allclose(results["forces"], -read.positions, atol=1e-6)
    sidecar = json.loads((tmp_path / "a.labels.json").read_text())
    assert sidecar["written"] == 1 and sidecar["settings"]["seed"] == 0 and "ase" in sidecar["versions"]


def test_resume_after_a_cut_journal_gives_the_same_file(labels, tmp_path):
    frames = labels.prepare([frame(shift=0.1 * i) for i in range(6)])
    settings = springs(labels)
    whole, resumed = tmp_path / "whole.extxyz", tmp_path / "resumed.extxyz"
    labels.label_frames(frames, whole, settings, workers=0)
    journal = labels.Journal(tmp_path / "resumed.journal.jsonl")
    for atoms in (frames[4], frames[1]):
        journal.append(labels.frame_key(atoms, settings), labels.compute_label(atoms, settings))
    with journal.path.open("a") as file:
        file.write('{"key": "abc", "result": {"ener')  # killed in the middle of a line
    Springs.calls = 0
    labels.label_frames(frames, resumed, settings, workers=0)
    assert resumed.read_bytes() == whole.read_bytes()
    assert Springs.calls == 4
    assert not journal.path.exists()
    labels.label_frames(frames, resumed, settings, workers=0)
    assert Springs.calls == 4, "a complete run is not repeated"


def test_failed_frame_is_left_out_and_reported(labels, tmp_path, capsys):
    source, output = tmp_path / "in.extxyz", tmp_path / "out.extxyz"
    ase.io.write(source, [frame(), frame("H2O"), frame(shift=1.0)])
    command = [str(source), str(output), "--method", "ase", "--calculator", f"{__name__}:Springs", "--workers", "0"]
    assert labels.main(command) == 0
    assert [len(atoms) for atoms in labels.read_frames(output)] == [2, 2]
    assert "1 FRAMES FAILED" in capsys.readouterr().err
    (failed,) = json.loads((tmp_path / "out.labels.json").read_text())["failed"]
    assert failed["frame"] == 1 and failed["group"] == "H2O" and "too many atoms" in failed["reason"]
    assert labels.main([*command, "--strict"]) == 1


def test_an_ion_that_fails_is_one_failure(labels, tmp_path):
    """Also where it is the one by which the origin of dipoles is looked for."""
    frames, output = labels.prepare([frame("H2O", 1, 2), frame("H2", 1, 2)]), tmp_path / "a.extxyz"
    report = labels.label_frames(frames, output, springs(labels), workers=0)
    assert report["written"] == 1 and report["failed"][0]["frame"] == 0
    with pytest.raises(labels.LabelError, match="not about the coordinate origin"):
        labels.label_frames(frames, tmp_path / "b.extxyz", springs(labels, about_center=True), workers=0)
    labels.label_frames(frames[:1], output, springs(labels), workers=0)
    assert not output.exists(), "older labels stay beside a report of other frames"


def test_two_workers_give_the_file_of_one(labels, tmp_path):
    pytest.importorskip("tblite")
    frames = labels.prepare([frame("H2O", shift=0.01 * i) for i in range(4)])
    for workers in (0, 2):
        labels.label_frames(frames, tmp_path / f"{workers}.extxyz", labels.Settings("gfn2"), workers=workers)
    assert (tmp_path / "0.extxyz").read_bytes() == (tmp_path / "2.extxyz").read_bytes()


def test_dipole_about_the_center_is_refused_for_ions(labels):
    ion = labels.prepare([frame("H2", 1, 2)])
    labels.check_dipole_origin(ion, springs(labels))
    with pytest.raises(labels.LabelError, match="not about the coordinate origin"):
        labels.check_dipole_origin(ion, springs(labels, about_center=True))


@pytest.mark.parametrize(
    ("name", "charge", "multiplicity"), [("H2O", 0, 1), ("CH3", 0, 2), ("OH", -1, 1), ("O2", 0, 3)]
)
def test_gfn2_labels(labels, name, charge, multiplicity):
    pytest.importorskip("tblite")
    settings = labels.Settings("gfn2")
    (atoms,) = labels.prepare([frame(name, charge, multiplicity)])
    atoms.rattle(0.05, seed=1)
    label = labels.compute_label(atoms, settings)
    assert sum(label["charges"]) == pytest.approx(charge, abs=1e-6)
    assert sum(label["spin_charges"]) == pytest.approx(multiplicity - 1, abs=1e-6)
    assert np.allclose(np.sum(label["forces"], axis=0), 0, atol=1e-5)
    energies = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions[1, 2] += sign * 1e-3
        energies.append(labels.compute_label(moved, settings)["energy"])
    assert label["forces"][1][2] == pytest.approx((energies[1] - energies[0]) / 2e-3, abs=1e-3)


@pytest.mark.parametrize(("method", "package"), [("gfn2", "tblite"), ("pyscf", "pyscf")])
def test_dipole_follows_the_origin_convention(labels, method, package):
    pytest.importorskip(package)
    settings = labels.Settings(method, {"basis": "sto-3g"} if method == "pyscf" else {})
    shift = np.array([0.5, -1.0, 2.0])
    for name, charge, multiplicity in (("OH", -1, 1), ("OH", 1, 3), ("H2O", 0, 1)):
        here, there = labels.prepare([frame(name, charge, multiplicity, s) for s in (0.0, shift)])
        change = np.subtract(*(labels.compute_label(a, settings)["dipole"] for a in (there, here)))
        assert np.allclose(change, charge * shift, atol=2e-3)


def test_pyscf_labels(labels):
    pytest.importorskip("pyscf")
    settings = labels.Settings("pyscf", {"basis": "sto-3g", "population": "lowdin"})
    label = labels.compute_label(labels.prepare([Atoms("OH", [[0, 0, 0], [0, 0, 1.0]])], 0, 2)[0], settings)
    assert sum(label["spin_charges"]) == pytest.approx(1) and label["spin_charges"][0] > 0.9
    assert label["s_squared"] == pytest.approx(0.75, abs=0.02)
    assert label["forces"][0][2] == pytest.approx(-label["forces"][1][2], abs=0.02)


def test_external_charges_act(labels):
    """A far one on a polar anion: k_e q (Q/R + mu·n/R²); two are not counted with each other."""
    pytest.importorskip("pyscf")
    settings = labels.Settings("pyscf", {"xc": "hf", "basis": "sto-3g"})
    alone = frame("OH", -1)
    around = alone.copy()
    around.info.update(external_positions=[[0, 0, 50.0], [0, 0, 50.5]], external_charges=[0.6, -0.1])
    one, other = (labels.compute_label(atoms, settings) for atoms in labels.prepare([alone, around]))
    places = zip((0.6, -0.1), (50.0, 50.5), strict=True)
    limit = sum(14.3996454784255 * q * (-1 / r + one["dipole"][2] / r**2) for q, r in places)
    assert other["energy"] - one["energy"] == pytest.approx(limit, abs=2e-4)  # quadrupole and polarizability
    assert np.sum(other["forces"], axis=0)[2] == pytest.approx(14.4 * (0.6 / 50**2 - 0.1 / 50.5**2), rel=0.05)
    assert labels.frame_key(alone, settings) != labels.frame_key(around, settings)
    with pytest.raises(labels.LabelError, match="knows no external charges"):
        labels.compute_label(around, labels.Settings("gfn2"))
    around.info["external_widths"] = [0.1, 0.1]
    with pytest.raises(labels.LabelError, match="widths are not supported"):
        labels.compute_label(around, settings)


def test_centroids_have_the_dipole_of_the_calculation(labels, tmp_path):
    """Of a pair, an anion and a cation, with the charges of nuclei and cores at the atoms and -8 e at centroids."""
    pytest.importorskip("pyscf")
    settings = labels.Settings("pyscf", {"xc": "hf", "basis": "sto-3g", "wannier": "O"})
    pair = frame("H2O") + frame("H2O", shift=2.3)
    pair.info.update(frame().info)
    hydronium = frame("NH3", 1)
    hydronium.symbols[0] = "O"
    for atoms in labels.prepare([pair, frame("OH", -1), hydronium]):
        label = labels.compute_label(atoms, settings)
        moved = np.array(label["wannier_displacements"])
        ions, electrons = np.where(atoms.numbers == 8, 6, 1), np.where(atoms.numbers == 8, -8, 0)
        dipole = ions @ atoms.positions + electrons @ (atoms.positions + moved)
        # 1e-9 Hartree of convergence leave some 1e-5 of the density
        assert np.allclose(dipole, label["dipole"], atol=1e-4)
        assert not moved[atoms.numbers == 1].any() and (np.linalg.norm(moved[atoms.numbers == 8], axis=1) < 0.15).all()
    labels.label_frames(labels.prepare([pair]), tmp_path / "a.extxyz", settings, workers=0)
    (read,) = labels.read_frames(tmp_path / "a.extxyz")
    assert np.linalg.norm(read.arrays["wannier_displacements"], axis=1)[[0, 3]].min() > 0.01


def test_centroids_that_can_not_be_made(labels):
    pytest.importorskip("pyscf")

    def made(atoms, holders):
        labels.compute_label(
            *labels.prepare([atoms]), labels.Settings("pyscf", {"basis": "sto-3g", "wannier": holders})
        )

    with pytest.raises(labels.LabelError, match="closed shells only"):
        made(frame("OH", 0, 2), "O")
    with pytest.raises(labels.LabelError, match="no atom of C, N to hold electrons"):
        made(frame("H2O"), ["C", "N"])


def test_shipped_splits_are_consistent_and_disjoint(labels):
    folder = TOOLS.parent / "eqff" / "datasets" / "ions"
    seen = set()
    for name in ("val", "test", "test_far_pairs"):
        for atoms in labels.read_frames(folder / f"{name}.extxyz.gz"):
            results, info = atoms.calc.results, atoms.info
            assert {"energy", "forces", "dipole", "charges"} <= set(results)
            assert results["charges"].sum() == pytest.approx(info["total_charge"], abs=1e-4)
            assert atoms.arrays["spin_charges"].sum() == pytest.approx(info["multiplicity"] - 1, abs=1e-4)
            labels.check_state(atoms.numbers, int(info["total_charge"]), int(info["multiplicity"]), name)
            assert name != "test_far_pairs" or info["pair_distance"] > 7
            key = (atoms.numbers.tobytes(), atoms.positions.tobytes(), info["total_charge"], info["multiplicity"])
            assert key not in seen
            seen.add(key)


def test_what_frames_say_is_kept_and_other_labels_are_not(labels, tmp_path):
    """Fragments decide what a label is; labels of another method, and its name, must not stand beside the new ones."""
    atoms = frame()
    atoms.arrays["fragment"], atoms.arrays["residue"] = np.array([0, 1]), np.array(["A", "B"])
    atoms.arrays["REF_forces"], atoms.arrays["c6_coefficients"] = np.ones((2, 3)), np.ones(2)
    atoms.info |= {"level_of_theory": "B3LYP", "DFT_energy": 1.0, "quadrupole": np.eye(3), "temperature": 300}
    settings, output = springs(labels), tmp_path / "a.extxyz"
    labels.label_frames(labels.prepare([atoms]), output, settings, workers=0)
    (read,) = labels.read_frames(output)
    assert read.arrays["fragment"].tolist() == [0, 1] and read.arrays["residue"].tolist() == ["A", "B"]
    assert read.info["temperature"] == 300
    assert not {"level_of_theory", "DFT_energy", "quadrupole"} & set(read.info)
    assert not {"REF_forces", "c6_coefficients"} & set(read.arrays)
    whole = atoms.copy()
    whole.arrays["fragment"][:] = 0
    one, other = (labels.frame_key(each, settings) for each in labels.prepare([atoms, whole]))
    assert one != other


@pytest.mark.parametrize("key", ["electric_field", "REF_efield"])
def test_fields_are_refused(labels, key):
    atoms = frame()
    atoms.info[key] = [0.0, 0.0, 0.0]
    labels.compute_label(labels.prepare([atoms])[0], springs(labels))
    atoms.info[key] = [0.0, 0.0, 0.1]
    with pytest.raises(labels.LabelError, match="knows an electric field"):
        labels.compute_label(labels.prepare([atoms])[0], springs(labels))
