"""Structures on disk are the structures in memory; what is damaged, half built or out of date is not used."""

import importlib
import logging
from collections import Counter

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from frames_on_file import labelled, methanes, waters, write_extxyz

from eqff.data import cache
from eqff.data import fields as table
from eqff.data.cache import cached_set
from eqff.data.cache.folder import MANIFEST
from eqff.data.frame_sequence import MemoryFrames
from eqff.data.module import AtomicDataModule
from eqff.data.reading import Reading, iterate_frames, read_set
from eqff.data.sets import cache_folder
from eqff.errors import DataError

LISTS = {"local": 3.0, "wide": 6.0}


@pytest.fixture
def path(tmp_path):
    """Molecules, ions, crystals and single atoms; some lack a label."""
    frames = [*waters(9, group="water"), *methanes(7, config_type="alkane")]
    frames += [labelled(bulk("Cu") * (1, 1, n), n, multiplicity=1 + n % 2) for n in (1, 2, 3)]
    frames += [labelled(Atoms("H", positions=[[0, 0, 0]]), 50 + n, multiplicity=2) for n in range(2)]
    frames[3].info.update(total_charge=1, multiplicity=2)
    del frames[4].calc.results["forces"]
    frames[5].info["dipole"] = [0.1, 0.2, 0.3]
    order = np.random.default_rng(0).permutation(len(frames))
    return write_extxyz(tmp_path / "train.extxyz", [frames[i] for i in order])


def both(path, folder, **reading):
    """The same set in memory and in a cache."""
    memory = MemoryFrames(read_set(path, Reading(**reading)).frames)
    return memory, cached_set(path, Reading(**reading), folder, 1).frames


def assert_same(first, second):
    assert set(first.keys()) == set(second.keys())
    for key in first.keys():
        if isinstance(first[key], torch.Tensor):
            assert first[key].dtype == second[key].dtype, key
            torch.testing.assert_close(first[key], second[key], rtol=0, atol=0, equal_nan=True)
        else:
            assert first[key] == second[key], key


def test_batches_are_those_of_memory_to_the_bit(path, tmp_path):
    memory, cached = both(path, tmp_path / "cache")
    for frames in (memory, cached):
        frames.add_neighbours(LISTS)
    rng = np.random.default_rng(1)
    for chosen in ([0], [3, 3, 1], range(5, 9), rng.permutation(len(memory)), rng.permutation(len(memory))[:6]):
        ours, theirs = cached.batch(chosen), memory.batch(chosen)
        assert_same(ours, theirs)
        assert type(ours) is type(theirs) and ours.num_graphs == len(chosen)
        for one, other in zip(ours.to_data_list(), theirs.to_data_list(), strict=True):
            assert_same(one, other)


def test_structures_and_their_numbers_are_those_of_memory(path, tmp_path):
    memory, cached = both(path, tmp_path / "cache")
    for frames in (memory, cached):
        frames.fill([*frames.labels, "charges", "quadrupole"])
    assert len(memory) == len(cached) and memory.labels == cached.labels and "charges" in cached.labels
    with pytest.raises(IndexError, match="no frame 99"):
        cached[99]
    for _ in range(2):
        for one, other in zip(cached, memory, strict=True):
            assert_same(one, other)
        for what in ("atoms", "edges"):
            assert cached.sizes(what).tolist() == memory.sizes(what).tolist()
        assert cached.shortest().tolist() == memory.shortest().tolist()
        assert cached.fingerprints().tolist() == memory.fingerprints().tolist()
        part = [4, 1, 17]
        assert [frame.place for frame in cached.select(part)[1:]] == [memory[i].place for i in part[1:]]
        for frames in (memory, cached):
            frames.add_neighbours(LISTS)


@pytest.mark.parametrize("reference", ["least_squares", {"H": -13.6, "C": -1030.0, "O": -2041.0, "Cu": -45000.0}])
def test_a_run_takes_the_same_from_both(path, tmp_path, reference):
    other = write_extxyz(tmp_path / "other.extxyz", [*waters(3), *methanes(3, seed=4)])
    settings = {"split": {"val": 4, "test": 3}, "test": {"hard": other}, "reference_energies": reference}
    modules = [AtomicDataModule(path, **settings, cache=folder) for folder in (None, str(tmp_path / "cache"))]
    for module in modules:
        module.read()
        module.build_neighbours(LISTS)
    memory, cached = modules
    assert cached.data_hash == memory.data_hash and cached.indices == memory.indices
    # as text: nothing equals NaN, which ranges of no values are
    assert repr(cached.report) == repr(memory.report)
    assert "in the training set too" in str(cached.report["hard"].notes)
    assert cached.reference.energies == memory.reference.energies
    assert cached.statistics == memory.statistics
    for ours, theirs in zip(cached.train_dataloader(), memory.train_dataloader(), strict=True):
        assert_same(ours, theirs)
    loaders = zip(cached.test_dataloaders().items(), memory.test_dataloaders().items(), strict=True)
    for (ours, one), (theirs, other) in loaders:
        assert ours == theirs
        for first, second in zip(one, other, strict=True):
            assert_same(first, second)


def test_levels_of_theory_are_shifted_alike(tmp_path):
    frames = [*waters(6, level_of_theory="PBE"), *methanes(6, level_of_theory="PBE")]
    frames += [*waters(6, seed=3, level_of_theory="HF"), *methanes(6, seed=4, level_of_theory="HF")]
    path = write_extxyz(tmp_path / "a.extxyz", frames)
    settings = {"split": {"val": 0}, "mixed_levels": "offset", "main_level": "HF"}
    memory, cached = (AtomicDataModule(path, **settings, cache=folder) for folder in (None, str(tmp_path / "cache")))
    for module in (memory, cached):
        module.read()
    energies = [[float(frame.energy) for frame in module.frames["train"]] for module in (memory, cached)]
    assert energies[0] == pytest.approx(energies[1], abs=1e-9) and energies[0] != pytest.approx(
        [float(frame.energy) for frame in iterate_frames(path)], abs=1e-3
    )
    assert {frame.level_of_theory for frame in cached.frames["train"]} == {"HF"}


def test_loader_processes_read_the_same_files(path, tmp_path):
    module = AtomicDataModule(path, split={"val": 0}, cache=str(tmp_path / "cache"), num_workers=2)
    module.read()
    module.build_neighbours(LISTS)
    here = list(module.train_dataloader())
    module.num_workers = 0
    for ours, theirs in zip(here, module.train_dataloader(), strict=True):
        assert_same(ours, theirs)


@pytest.mark.parametrize("processes", [1, 2])
def test_parts_are_joined_in_order(path, tmp_path, processes, monkeypatch):
    monkeypatch.setattr("eqff.data.cache.build.PIECE", 4)
    read = cached_set([path, path], Reading(), tmp_path / "cache", processes)
    expected = read_set([path, path])
    for one, other in zip(read.frames, expected.frames, strict=True):
        assert_same(one, other)
    assert read.used == expected.used and read.unused == expected.unused
    lists = MemoryFrames(expected.frames)
    for frames in (lists, read.frames):
        frames.add_neighbours(LISTS)
    assert_same(read.frames.batch(range(len(lists))), lists.batch(range(len(lists))))


def folders(cache_folder):
    return {found.name for found in cache_folder.iterdir() if found.is_dir()}


def test_content_and_settings_name_the_cache(path, tmp_path):
    kept = tmp_path / "cache"
    first = cached_set(path, Reading(), kept, 1).frames
    assert len(folders(kept)) == 1
    moved = path.rename(tmp_path / "elsewhere.extxyz")
    again = cached_set(moved, Reading(), kept, 1).frames
    assert len(folders(kept)) == 1 and again[0].source.endswith("elsewhere.extxyz")
    assert first[0].energy == again[0].energy
    cached_set(moved, Reading(keys={"dipole": None}), kept, 1)
    cached_set(f"{moved}@:5", Reading(), kept, 1)
    assert len(folders(kept)) == 3
    moved.write_text(moved.read_text().replace("group=water", "group=ice  "))
    changed = cached_set(moved, Reading(), kept, 1).frames
    assert len(folders(kept)) == 4 and "ice" in {frame.group for frame in changed}


def test_a_new_cutoff_takes_the_same_structures(path, tmp_path):
    kept = tmp_path / "cache"
    cached_set(path, Reading(), kept, 1).frames.add_neighbours({"local": 3.0})
    before = {file: file.stat().st_mtime_ns for file in kept.rglob("*.npy")}
    frames = cached_set(path, Reading(), kept, 1).frames
    frames.add_neighbours({"local": 5.0, "other": 3.0})
    assert len(folders(kept)) == 3 and {file: file.stat().st_mtime_ns for file in before} == before
    memory = MemoryFrames(read_set(path).frames)
    memory.add_neighbours({"local": 5.0, "other": 3.0})
    assert_same(frames.batch([2, 0]), memory.batch([2, 0]))


def cut(file):
    file.write_bytes(file.read_bytes()[:-8])


def alter(file):
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)


def remove(file):
    file.unlink()


@pytest.mark.parametrize("damage", [cut, alter, remove])
@pytest.mark.parametrize("name", ["positions.npy", MANIFEST])
def test_a_damaged_cache_is_refused_and_built_anew(path, tmp_path, damage, name, caplog):
    kept = tmp_path / "cache"
    before = cached_set(path, Reading(), kept, 1).frames.batch([1, 2])
    (folder,) = (kept / found for found in folders(kept))
    damage(folder / name)
    with pytest.raises(DataError, match="damaged"):
        cache.open(folder)
    with caplog.at_level(logging.WARNING):
        again = cached_set(path, Reading(), kept, 1).frames
    assert "damaged" in caplog.text and "built anew" in caplog.text
    assert_same(again.batch([1, 2]), before)
    assert len(cache.open(folder)) == len(again)


def test_a_large_cache_is_verified_when_asked(path, tmp_path, monkeypatch):
    kept = tmp_path / "cache"
    cached_set(path, Reading(), kept, 1)
    cache.verify(kept)
    monkeypatch.setattr("eqff.data.cache.folder.CHECKED_BYTES", 10)
    alter(next(kept.rglob("label.forces.npy")))
    with pytest.raises(DataError, match="label.forces.npy was altered"):
        cache.verify(kept)


@pytest.mark.parametrize("processes", [1, 2])
def test_errors_are_those_of_memory_and_leave_nothing(path, tmp_path, processes, monkeypatch):
    monkeypatch.setattr("eqff.data.cache.build.PIECE", 4)
    frames = waters(12)
    frames[10].calc.results["forces"][1, 2] = np.nan
    broken = write_extxyz(tmp_path / "broken.extxyz", frames)
    messages = []
    for read in (lambda: read_set(broken), lambda: cached_set(broken, Reading(), tmp_path / "cache", processes)):
        with pytest.raises(DataError, match="broken.extxyz, frame 10: forces has 1 number") as error:
            read()
        messages.append(str(error.value))
    assert messages[0] == messages[1] and folders(tmp_path / "cache") == set()
    with pytest.raises(DataError, match="data.keys: no frame of train.extxyz has 'E_dtf'"):
        cached_set(path, Reading(keys={"E_dtf": "energy"}), tmp_path / "cache", processes)


def test_files_are_read_frame_by_frame(path):
    frames = iterate_frames([path, path])
    assert next(frames).frame == 0 and next(frames).frame == 1
    assert Counter(frame.frame for frame in frames)[5] == 2


def test_auto_takes_a_cache_for_large_files_only(path, tmp_path, monkeypatch):
    monkeypatch.delenv("EQFF_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    small = AtomicDataModule(path, cache="auto")
    small.read()
    assert not (tmp_path / "home").exists()
    monkeypatch.setattr("eqff.data.sets.LARGE", 100)
    large = AtomicDataModule(path, cache="auto", cache_workers=1)
    large.read()
    assert large.data_hash == small.data_hash and len(folders(tmp_path / "home" / "eqff")) == 1
    monkeypatch.setenv("EQFF_CACHE", str(tmp_path / "named"))
    assert cache_folder("auto", path) == tmp_path / "named"


def test_inputs_that_few_structures_state_are_written_from_there_on(tmp_path, monkeypatch):
    """Nothing is written where nothing is stated; what comes later is not lost, nor moved to other structures."""
    frames = waters(6)
    plain = cached_set(write_extxyz(tmp_path / "plain.extxyz", frames), Reading(), tmp_path / "plain", 1).frames
    assert not [file for file in (tmp_path / "plain").rglob("*.npy") if file.stem in ("fragment", "electric_field")]
    assert plain[0].fragment.tolist() == [-1] * len(frames[0])
    monkeypatch.setattr("eqff.data.cache.build._BUFFER", 1)
    monkeypatch.setattr("eqff.data.cache.build.PIECE", 2)
    frames[3].arrays["fragment"], frames[4].info["electric_field"] = np.arange(len(frames[3])), [0.0, 0.1, 0.0]
    path = write_extxyz(tmp_path / "some.extxyz", frames)
    memory, cached = both(path, tmp_path / "some")
    assert_same(memory.batch(range(6)), cached.batch(range(6)))
    np.testing.assert_array_equal(memory.fingerprints(), cached.fingerprints())


def test_colleagues_can_read_a_cache(path, tmp_path):
    """Its folders and files have the rights that the user's others have."""
    kept, plain = tmp_path / "cache", tmp_path / "plain"
    cached_set(path, Reading(), kept, 1).frames.add_neighbours({"local": 3.0})
    plain.mkdir()
    (plain / "file").touch()
    expected = {True: plain.stat().st_mode, False: (plain / "file").stat().st_mode}
    left = [found for found in kept.rglob("*") if found.suffix != ".lock"]
    assert len(left) > 10 and {found for found in left if found.stat().st_mode != expected[found.is_dir()]} == set()


def test_another_reader_of_a_package_makes_another_cache(tmp_path, monkeypatch):
    """What an older version of it has read is not taken for what it reads now."""
    (tmp_path / "my_reader.py").write_text(READER.format(energy=-1.0))
    monkeypatch.syspath_prepend(tmp_path)
    my_reader = importlib.import_module("my_reader")
    monkeypatch.setattr("eqff.data.readers.declared", lambda name: my_reader.READERS)
    (tmp_path / "a.mine").touch()
    assert float(cached_set(tmp_path / "a.mine", Reading(), tmp_path / "cache", 1).frames[0].energy) == -1.0
    (tmp_path / "my_reader.py").write_text(READER.format(energy=-20.0))
    importlib.reload(my_reader)
    assert float(cached_set(tmp_path / "a.mine", Reading(), tmp_path / "cache", 1).frames[0].energy) == -20.0


READER = """
from ase import Atoms
from eqff.data.readers import Reader
from eqff.data.records import record_from_ase

def read(path):
    yield record_from_ase(Atoms("He", info=dict(energy={energy}, charge=0, spin=1)))

READERS = (Reader(read, (".mine",)),)
"""


def test_a_field_that_is_declared_later_is_read(tmp_path, monkeypatch):
    """As by a package that an earlier run did not name: its cache holds nothing of it."""
    path = write_extxyz(tmp_path / "a.extxyz", waters(3, gap=5.0))
    assert "gap" not in cached_set(path, Reading(), tmp_path / "cache", 1).frames.labels
    monkeypatch.setitem(table.FIELDS, "gap", table.Field("gap", "structure", (), "0e", "eV", "excitation energy"))
    assert "gap" in cached_set(path, Reading(), tmp_path / "cache", 1).frames.labels
