"""Levels of theory: declared, refused when mixed, shifted onto one, and betrayed by numbers when nobody says a word."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.io import write

from eqff.build import ModelContext, build_potential
from eqff.checkpoints import ModelMetadata
from eqff.data.atoms import from_atoms
from eqff.data.energy_rows import EnergyRows
from eqff.data.levels import shifted, stated_level
from eqff.data.module import AtomicDataModule
from eqff.data.reading import read_frames
from eqff.data.reference_energies import reference_energies
from eqff.errors import ConfigError, DataError
from eqff.evaluation import evaluate_potential

DFT = {1: -13.6, 6: -1029.4, 8: -2041.3}
XTB = {1: -10.7, 6: -48.8, 8: -102.6}
MOLECULES = {"H2": 0.0, "OH2": -9.0, "CH4": -17.0, "CO": -11.0, "CO2": -16.0, "CH2O": -15.0}
"""And their energies of atomization, eV, the same at both levels."""


def molecules(table, copies=4, seed=0, names=tuple(MOLECULES), noise=0.02, **info):
    rng = np.random.default_rng(seed)
    out = []
    for name in names * copies:
        atoms = Atoms(name)
        atoms.positions = np.arange(len(atoms))[:, None] * [1.1, 0.3, 0.1] + 0.05 * rng.normal(size=(len(atoms), 3))
        energy = sum(table[z] for z in atoms.numbers.tolist()) + MOLECULES.get(name, 0.0) + noise * rng.normal()
        forces = rng.normal(size=(len(atoms), 3))
        atoms.arrays["forces"] = forces - forces.mean(axis=0)
        atoms.info = {"energy": float(energy), "total_charge": 0, "multiplicity": 1, **info}
        out.append(atoms)
    return out


@pytest.fixture
def files(tmp_path):
    write(tmp_path / "dft.extxyz", molecules(DFT, method="wB97M-V"))
    write(tmp_path / "xtb.extxyz", molecules(XTB, seed=1, method="GFN2-xTB"))
    return tmp_path


def read(path, **settings):
    module = AtomicDataModule(path, **{"split": {"val": 2}, **settings})
    module.read()
    return module


BOTH = {"keys": {"method": "level_of_theory"}}


def paths(files):
    return [str(files / "dft.extxyz"), str(files / "xtb.extxyz")]


def test_mixed_levels_are_refused_with_files_counts_and_remedies(files):
    with pytest.raises(DataError) as caught:
        read(paths(files), **BOTH, split={"val": 0})
    message = str(caught.value)
    for part in ("'wB97M-V': 24 frames", "'GFN2-xTB': 24 frames", "dft.extxyz", "xtb.extxyz", "mixed_levels=offset"):
        assert part in message


@pytest.mark.parametrize(
    "levels", [{"dft*": "PBE", "xtb*": "GFN2-xTB"}, {"*/dft.extxyz": "PBE", "xtb.extxyz": "GFN2-xTB"}]
)
def test_levels_stated_for_files(files, levels):
    with pytest.raises(DataError, match="mixes levels of theory: 'PBE'"):
        read(paths(files), level_of_theory=levels)


def test_what_is_stated_and_what_is_declared_must_agree(files):
    with pytest.raises(DataError, match=r"dft.extxyz, frame 0: declares .* 'wB97M-V', but .* says 'PBE'"):
        read(paths(files), **BOTH, level_of_theory="PBE")
    assert read(paths(files)[:1], **BOTH, level_of_theory="wB97M-V").reference.level == "wB97M-V"


def test_a_pattern_that_fits_nothing_is_an_error(files):
    with pytest.raises(ConfigError, match="no file fits 'dtf.extxyz'.*Did you mean 'dft.extxyz'"):
        read(paths(files)[:1], level_of_theory={"dtf.extxyz": "PBE"})
    with pytest.raises(ConfigError, match="several levels: A, B"):
        stated_level(files / "dft.extxyz", {"dft*": "A", "*.extxyz": "B"})
    with pytest.raises(ConfigError, match="no file fits 'dtf.extxyz'.*Did you mean 'dft.extxyz'"):
        read_frames(files / "dft.extxyz", level_of_theory={"dtf.extxyz": "PBE"})


def test_levels_stated_by_whole_paths(files):
    """They fit, and were said to fit nothing."""
    path = paths(files)[0]
    assert read(path, level_of_theory={path: "PBE"}).reference.level == "PBE"


def test_keys_that_mean_it_are_read_and_others_are_not(files, tmp_path):
    write(tmp_path / "own.extxyz", molecules(DFT, level_of_theory="PBE0"))
    assert {frame.level_of_theory for frame in read_frames(tmp_path / "own.extxyz")} == {"PBE0"}
    assert {frame.level_of_theory for frame in read_frames(files / "dft.extxyz")} == {""}


@pytest.mark.parametrize("kind", ["val", "test"])
def test_validation_and_test_sets_must_be_at_a_level_of_training(files, kind):
    dft, xtb = paths(files)
    other = {"val": xtb} if kind == "val" else {"test": {"hard": xtb}}
    with pytest.raises(DataError, match="'GFN2-xTB', of which the training set has none"):
        read(dft, **BOTH, **other, split={"val": 0 if kind == "val" else 2})


def test_one_level_is_remembered_and_some_silent_frames_are_told(files):
    assert read(paths(files)[0], **BOTH).context().level_of_theory == "wB97M-V"
    write(files / "silent.extxyz", molecules(DFT, seed=5))
    module = read([paths(files)[0], str(files / "silent.extxyz")], **BOTH)
    assert any("some frames declare no level of theory" in note for note in module.reference.notes)
    with pytest.raises(DataError, match="needs the level of every frame"):
        read([paths(files)[0], str(files / "silent.extxyz")], **BOTH, mixed_levels="offset")


@pytest.mark.parametrize("main", [None, "wB97M-V", "GFN2-xTB"])
def test_offset_puts_both_on_one_level(files, main):
    module = read(paths(files), **BOTH, mixed_levels="offset", main_level=main)
    table, other = (XTB, DFT) if main == "GFN2-xTB" else (DFT, XTB)
    context = module.context()
    assert context.level_of_theory == (main or "wB97M-V")  # the first by default
    offsets = next(iter(context.level_offsets.values()))
    assert offsets == pytest.approx({z: other[z] - table[z] for z in table}, abs=0.5)
    for frames in module.frames.values():
        for frame in frames:
            atoms = sum(table[z] for z in frame.numbers.tolist())
            assert abs(float(frame.energy) - atoms) < 20 and frame.level_of_theory == context.level_of_theory
    assert any("are shifted onto" in note for note in module.reference.notes)
    above = module.reference.above(EnergyRows.of(module.frames["train"]))
    assert above.std() < 2.0


def test_forces_stay_and_the_frame_that_was_read_too(files):
    frame = read_frames(files / "xtb.extxyz", keys=BOTH["keys"])[1]
    before = frame.energy.clone()
    moved = shifted(frame, "wB97M-V", {"GFN2-xTB": {1: 2.9, 8: 1938.7}})
    assert moved.forces is frame.forces and torch.equal(frame.energy, before)
    assert moved.energy.item() == pytest.approx(before.item() - 2 * 2.9 - 1938.7)
    assert shifted(moved, "wB97M-V", {"GFN2-xTB": {1: 2.9}}) is moved  # not twice
    with pytest.raises(DataError, match="no training frame at its level has O"):
        shifted(frame, "wB97M-V", {"GFN2-xTB": {1: 2.9}})


def test_offset_from_isolated_atoms_is_exact(tmp_path):
    frames = []
    for table, level in ((DFT, "A"), (XTB, "B")):
        frames += molecules(table, level_of_theory=level, noise=0.0)
        for z in table:
            atoms = Atoms([z], [[0, 0, 0]])
            atoms.info = {
                "energy": table[z],
                "total_charge": 0,
                "multiplicity": 2 - (z % 2 == 0),
                "level_of_theory": level,
            }
            atoms.arrays["forces"] = np.zeros((1, 3))
            frames.append(atoms)
    write(tmp_path / "all.extxyz", frames)
    module = read(tmp_path / "all.extxyz", mixed_levels="offset", reference_energies="isolated_atoms", split={"val": 0})
    assert module.reference.level_offsets["B"] == pytest.approx({z: XTB[z] - DFT[z] for z in DFT}, abs=1e-9)
    given = {"A": {"H": -13.6, "C": -1029.4, "O": -2041.3}, "B": {"H": -10.7, "C": -48.8, "O": -102.6}}
    same = read(tmp_path / "all.extxyz", mixed_levels="offset", reference_energies=given, split={"val": 0})
    assert same.reference.level_offsets == module.reference.level_offsets
    with pytest.raises(ConfigError, match="table for each level"):
        read(tmp_path / "all.extxyz", mixed_levels="offset", reference_energies=given["A"])


def test_a_main_level_without_an_element_is_refused(tmp_path):
    write(tmp_path / "a.extxyz", molecules(DFT, names=("H2", "OH2"), level_of_theory="A"))
    write(tmp_path / "b.extxyz", molecules(XTB, level_of_theory="B"))
    both = [str(tmp_path / "a.extxyz"), str(tmp_path / "b.extxyz")]
    with pytest.raises(DataError, match="'A' has C and an energy.*data.main_level"):
        read(both, mixed_levels="offset", split={"val": 0})
    assert read(both, mixed_levels="offset", main_level="B", split={"val": 0}).context().level_of_theory == "B"
    with pytest.raises(ConfigError, match="main_level: no training frame has the level 'C'"):
        read(both, mixed_levels="offset", main_level="C", split={"val": 0})


# ------------------------------------------------------------------ nothing declared


def suspicion(*parts):
    frames = []
    for name, atoms in parts:
        for one in atoms:
            frame = from_atoms(one)
            frame.source = name
            frames.append(frame)
    return [note for note in reference_energies("least_squares", frames).notes if "levels of theory" in note]


@pytest.mark.parametrize("shift", [{8: 3.0}, {1: 1.0, 6: -20.0}, {1: -27.2}])
def test_files_that_lie_apart_are_told_with_numbers(shift):
    other = {z: energy + shift.get(z, 0.0) for z, energy in DFT.items()}
    notes = suspicion(("a.xyz", molecules(DFT, 6)), ("b.xyz", molecules(DFT, 6, seed=2)), ("odd.xyz", molecules(other)))
    assert len(notes) == 1 and notes[0].startswith("odd.xyz: 24 frames lie") and "data.level_of_theory" in notes[0]


def test_files_without_a_composition_in_common_are_told_where_chemistry_ends():
    names = ("CH4", "CH2O", "C2H2", "C2H4", "CH3OH")
    parts = ("a.xyz", molecules(DFT, 6)), ("odd.xyz", molecules(XTB, 3, names=names[2:], noise=0.2))
    notes = suspicion(*parts)
    assert len(notes) == 1 and "one for odd.xyz beside one for all others" in notes[0]


def test_different_molecules_charges_and_single_atoms_in_files_are_no_suspicion():
    each = [(f"{name}.xyz", molecules(DFT, names=(name,), copies=8)) for name in MOLECULES]
    assert suspicion(*each) == []
    ions = molecules(DFT, 3, seed=4)
    for atoms in ions:
        atoms.info.update(total_charge=1, multiplicity=2, energy=atoms.info["energy"] + 10.0)
    atoms = [Atoms([z], [[0, 0, 0]], info={"energy": e, "charge": 0, "spin": 1 + z % 2}) for z, e in DFT.items()]
    assert suspicion(("a.xyz", molecules(DFT)), ("ions.xyz", ions), ("atoms.xyz", atoms)) == []


def test_the_key_method_and_energies_that_lie_apart_are_refused_together(files):
    with pytest.raises(DataError) as error:
        read(paths(files))
    for part in ("'wB97M-V': ", "dft.extxyz", "'GFN2-xTB': ", "xtb.extxyz", "eV/atom", "'data.keys={method: null}'"):
        assert part in str(error.value)
    with pytest.raises(DataError, match="mixes levels of theory"):
        read(paths(files)[0], extra=paths(files)[1])
    assert read(paths(files), keys={"method": None}).reference.odd  # told, as where files don't have the key
    assert not read(paths(files)[0], extra=paths(files)[0]).reference.odd


def test_the_key_method_alone_is_no_level_of_theory(files):
    """It may say how a structure was made."""
    write(files / "other.extxyz", molecules(DFT, seed=2, method="molecular dynamics"))
    found = read([str(files / "dft.extxyz"), str(files / "other.extxyz")])
    assert not found.reference.odd and not found.reference.level


def test_shipped_sets_of_two_levels_do_not_mix():
    with pytest.raises(DataError, match="'spGFN2-xTB': ions/train.extxyz.gz; 'wb97x/def2-svpd': ions/wb97x_train"):
        read(["shipped:ions/train.extxyz.gz@:60", "shipped:ions/wb97x_train.extxyz.gz@:20"])


# ------------------------------------------------------------------ evaluation


@pytest.fixture
def potential():
    model = {"terms": {"zbl": {"_target_": "eqff.terms.zbl.ZBLRepulsion", "inner": 0.1, "outer": 0.2}}}
    offsets = {"GFN2-xTB": {z: XTB[z] - DFT[z] for z in DFT}}
    context = replace(ModelContext((1, 6, 8), {}), level_of_theory="wB97M-V", level_offsets=offsets)
    made = build_potential(model, context)
    made.metadata = ModelMetadata.of(made, model, context, {})
    return made


def test_evaluation_compares_on_the_models_level(files, potential):
    frames = read_frames(files / "xtb.extxyz", keys=BOTH["keys"])
    here = evaluate_potential(potential, read_frames(files / "dft.extxyz", keys=BOTH["keys"]), labels=["energy"])
    there = evaluate_potential(potential, frames, labels=["energy"])
    assert there.errors["energy"].mae == pytest.approx(here.errors["energy"].mae, rel=1e-3)  # the same molecules
    assert any("24 frames at the level 'GFN2-xTB' were shifted" in note for note in there.notes)
    assert all(frame.level_of_theory == "GFN2-xTB" for frame in frames)


def test_evaluation_tells_of_levels_it_can_not_convert(files, potential):
    frames = read_frames(files / "xtb.extxyz", level_of_theory="HF")
    notes = evaluate_potential(potential, frames, labels=["energy"]).notes
    assert any("24 frames are at the level of theory 'HF'" in note for note in notes)
