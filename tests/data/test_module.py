"""The data module: from files to batches and to what a model takes from its data."""

import inspect
import json
from pathlib import Path

import pytest
import torch
from ase.build import bulk
from frames_on_file import labelled, methanes, waters, write_extxyz
from omegaconf import OmegaConf
from rich.console import Console

from eqff.data.atoms import from_atoms
from eqff.data.grouping import grouping
from eqff.data.loaders import EpochShuffle
from eqff.data.module import AtomicDataModule
from eqff.data.statistics import content_hash
from eqff.data.summary import make_report
from eqff.errors import ConfigError, DataError

CONFIGS = Path(__file__).parents[2] / "conf" / "data"


@pytest.fixture
def path(tmp_path):
    frames = [*waters(12, group="water"), *methanes(8, group="methane")]
    return write_extxyz(tmp_path / "train.extxyz", frames)


def read(path, **settings):
    module = AtomicDataModule(path, **settings)
    module.read()
    return module


def test_from_one_file_to_batches(path):
    module = read(path, split={"val": 4, "test": 0.2}, batch_size=4)
    assert {name: len(frames) for name, frames in module.frames.items()} == {"train": 12, "val": 4, "test": 4}
    module.build_neighbours({"local": 5.0, "wide": 9.0})
    batches = list(module.train_dataloader())
    assert [batch.num_graphs for batch in batches] == [4, 4, 4]
    assert "edge_index" in batches[0] and "edge_shift_wide" in batches[0]
    assert module.test_dataloaders().keys() == {"test"}
    context = module.context()
    assert context.elements == (1, 6, 8)
    forces = torch.cat([frame.forces for frame in module.frames["train"]])
    assert context.energy_scale == pytest.approx(float(forces.square().mean().sqrt()))
    edges = sum(frame.edge_index.shape[1] for frame in module.frames["train"])
    assert context.mean_neighbours == edges / sum(frame.num_nodes for frame in module.frames["train"])


def test_separate_files(path, tmp_path):
    other = write_extxyz(tmp_path / "val.extxyz", waters(3, seed=9))
    hard = write_extxyz(tmp_path / "hard.extxyz", methanes(2, seed=8))
    module = read(path, val=other, test={"hard": hard})
    assert {name: len(frames) for name, frames in module.frames.items()} == {"train": 20, "val": 3, "hard": 2}
    with pytest.raises(DataError, match="two 'test' sets"):
        read(path, val=other, test={"test": hard}, split={"test": 2})


def test_published_split(path, tmp_path):
    (tmp_path / "s.json").write_text(json.dumps({"train": [13, 0], "val": [5], "test": [19]}))
    module = read(path, split={"file": str(tmp_path / "s.json")})
    assert [frame.frame for frame in module.frames["train"]] == [13, 0]
    assert module.frames["test"][0].group == "methane"


def test_the_saved_split_gives_the_same_run(path, tmp_path):
    first = read(path, split={"val": 5, "seed": 3})
    first.save(tmp_path)
    second = read(path, split={"file": tmp_path / "splits.json"})
    assert second.data_hash == first.data_hash
    report = json.loads((tmp_path / "data_report.json").read_text())
    assert report["data_hash"] == first.data_hash and report["sets"]["train"]["frames"] == 15
    assert "forces" in (tmp_path / "data_report.txt").read_text()


def test_split_by_group(path, tmp_path):
    frames = [*waters(4, group="water"), *methanes(4, group="methane"), *waters(2, seed=5, group="other")]
    module = read(write_extxyz(tmp_path / "g.extxyz", frames), split={"val": 0.2, "by": "group"})
    groups = {name: {frame.group for frame in part} for name, part in module.frames.items()}
    assert not groups["train"] & groups["val"]
    assert grouping(module.frames["train"], "formula")
    with pytest.raises(DataError, match="no config_type to split by.*data.keys={KEY: config_type}"):
        grouping(module.frames["train"], "config_type")
    with pytest.raises(DataError, match="split.by can't be 'grup'.*Did you mean 'group'"):
        grouping(module.frames["train"], "grup")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"split": {"vall": 0.1}}, "split.vall is not a setting.*Did you mean 'val'"),
        ({"require": ["enrgy"]}, "no field 'enrgy'.*Did you mean 'energy'"),
        ({"labels": ["froces"]}, "no field 'froces'.*Did you mean 'forces'"),
        ({"units": {"energi": "eV"}}, "no field 'energi'"),
        ({"multiplicity": "lowset"}, "Did you mean 'lowest'"),
        ({"reference_energies": "least_sqares"}, "Did you mean 'least_squares'"),
        ({"test": {"val": "x.extxyz"}}, "test set can't be called"),
    ],
)
def test_misspelt_settings(path, settings, message):
    with pytest.raises(ConfigError, match=message):
        read(path, **settings)


def test_a_file_without_forces(tmp_path):
    frames = waters(10)
    for atoms in frames:
        del atoms.calc.results["forces"]
    path = write_extxyz(tmp_path / "a.extxyz", frames)
    with pytest.raises(DataError, match="None of the 9 frames of .*a.extxyz has 'forces'. Labels found: energy"):
        read(path)
    assert read(path, require=["energy"]).labels == ("energy",)


def test_elements_that_training_never_saw(path, tmp_path):
    other = write_extxyz(tmp_path / "val.extxyz", methanes(2))
    only_water = write_extxyz(tmp_path / "water.extxyz", waters(5))
    with pytest.raises(DataError, match=r"val: .*val.extxyz, frame 0 has element\(s\) Z=\[6\]"):
        read(only_water, val=other)


def test_structures_in_two_sets_are_told(path, tmp_path):
    same = write_extxyz(tmp_path / "same.extxyz", waters(3))
    module = read(path, val=same)
    assert "3 of these structures are in the training set too" in module.report["val"].notes


def test_loaders_need_neighbour_lists(path):
    with pytest.raises(DataError, match="build_neighbours"):
        read(path).train_dataloader()


def test_order_is_new_every_epoch_and_the_same_after_a_restart():
    order = EpochShuffle(range(50), seed=3)
    first, second = list(order), list(order)
    assert sorted(first) == sorted(second) == list(range(50)) and first != second
    resumed = EpochShuffle(range(50), seed=3)
    resumed.set_epoch(1)
    assert list(resumed) == second
    assert list(EpochShuffle(range(50), seed=4)) != first


def test_hash_follows_content_and_nothing_else():
    frames = [from_atoms(atoms) for atoms in waters(3)]
    before = content_hash(frames)
    frames[0].group, frames[0].source = "renamed", "elsewhere.xyz"
    assert content_hash(frames) == before
    assert content_hash(frames[::-1]) != before
    assert len({content_hash(frames[:n], frames[n:]) for n in range(4)}) == 4  # which set a frame is in
    for name in ("energy", "forces", "positions", "total_charge"):
        changed = [frame.clone() for frame in frames]
        changed[1][name].view(-1)[0] += 1e-9
        assert content_hash(changed) != before, name


def test_partly_known_labels_are_counted(tmp_path):
    frames = waters(6)
    del frames[2].calc.results["forces"]
    module = read(write_extxyz(tmp_path / "a.extxyz", frames), split={"val": 0})
    known = {label.name: label.frames for label in module.report["train"].labels}
    assert known == {"energy": 6, "forces": 5}
    module.build_neighbours({"local": 3.0})
    batch = next(iter(module.train_dataloader()))
    assert torch.isnan(batch.forces).any() and module.val_dataloader() == []


def test_report_names_outliers():
    frames = [from_atoms(atoms) for atoms in waters(40)]
    frames[7].energy += 300.0
    frames[9].forces[0] += 400.0
    frames[7].source = frames[9].source = "a.extxyz"
    report = make_report("train", frames)
    assert any("energy beyond composition" in line and "frame 0" in line for line in report.outliers)
    assert any("largest force" in line for line in report.outliers)
    assert make_report("train", [from_atoms(atoms) for atoms in waters(40)]).outliers == ()


def test_what_is_grossly_off_shows_among_few_frames_too():
    frames = [from_atoms(atoms) for atoms in waters(8)]
    assert make_report("train", frames).outliers == ()
    frames[3].energy += 1e6
    (line,) = make_report("train", frames).outliers
    assert "energy beyond composition" in line


@pytest.mark.parametrize("cache", [None, "cache"])
def test_a_named_key_may_be_missing_in_validation_and_tests(tmp_path, cache):
    """A test set need not have every label; in the training set a key that is not there is a slip of the pen."""
    frames = waters(4)
    for number, atoms in enumerate(frames):
        atoms.info["mu"] = [0.1, 0.2, 0.1 * number]
    path, other = write_extxyz(tmp_path / "a.extxyz", frames), write_extxyz(tmp_path / "b.extxyz", waters(3))
    settings = {"keys": {"mu": "dipole"}, "cache": cache and tmp_path / cache}
    for _ in range(2):  # the second time from the cache
        module = read(path, val=other, test={"far": other}, **settings)
        known = {name: {row.name: row.frames for row in report.labels} for name, report in module.report.items()}
        assert known["train"]["dipole"] == 4 and known["val"]["dipole"] == known["far"]["dipole"] == 0
        expected = "data.keys: no frame of b.extxyz has 'mu' (for dipole). Nothing else is read as that."
        assert expected in module.report["val"].notes and expected in module.report["far"].notes
    with pytest.raises(DataError, match="no frame of b.extxyz has 'mu'"):
        read(other, val=path, **settings)


@pytest.mark.parametrize("name", ["a/b", "../a", ".a", "", "a\nb"])
def test_names_of_test_sets_are_names_of_files(path, name):
    with pytest.raises(ConfigError, match="can't be the name of a set"):
        AtomicDataModule(path, test={name: path})
    AtomicDataModule(path, test={"far [1] über": path})


def test_report_counts_states_and_prints():
    atoms = [*waters(2), *methanes(1)]
    atoms[0].info.update(total_charge=1, multiplicity=2)
    report = make_report("train", [from_atoms(one) for one in atoms])
    assert report.states == {"0 singlet": 2, "+1 doublet": 1}
    assert report.elements == {"H": 8, "C": 1, "O": 2} and report.atoms == (3, 5)
    console = Console(record=True, width=120)
    with console.capture() as text:
        console.print(report.table())
    assert "+1 doublet: 1" in text.get() and "eV/Å" in text.get()
    json.dumps(report.to_dict())


@pytest.mark.parametrize("name", ["file", "ions"])
def test_configs_name_only_settings_that_exist(name):
    settings = OmegaConf.to_container(OmegaConf.load(CONFIGS / f"{name}.yaml"))
    accepted = set(inspect.signature(AtomicDataModule).parameters)
    assert set(settings) - {"defaults"} <= accepted
    if name == "file":
        assert set(settings) == accepted
        for key, value in settings.items():
            default = inspect.signature(AtomicDataModule).parameters[key].default
            if key not in ("path", "split") and value:
                assert value == (list(default) if isinstance(default, tuple) else default), key


def test_built_from_a_config(path):
    settings = OmegaConf.load(CONFIGS / "file.yaml")
    settings.path = str(path)
    module = AtomicDataModule(**settings)
    module.read()
    assert len(module.frames["val"]) == 2 and module.val_dataloader is not None


def test_no_validation_set_where_none_is_wanted(path):
    """Null took a tenth."""
    sizes = {None: 0, 0: 0, 0.25: 5}
    for val, expected in sizes.items():
        assert len(read(path, split={"val": val, "test": None}).frames["val"]) == expected
    assert len(read(path).frames["val"]) == 2


def test_more_training_files_may_have_other_labels(path, tmp_path):
    """Batches of both kinds could not be made."""
    more = waters(6, seed=7)
    for atoms in more:
        atoms.info["dipole"] = [0.1, 0.2, 0.3]
        del atoms.calc.results["forces"]
    module = read(path, extra=write_extxyz(tmp_path / "more.extxyz", more), batch_size=26, split={"val": 0})
    module.build_neighbours({"local": 3.0})
    (batch,) = module.train_dataloader()
    assert int(torch.isnan(batch.dipole[:, 0]).sum()) == 20
    assert {label.name: label.frames for label in module.report["train"].labels} == {
        "energy": 26,
        "forces": 20,
        "dipole": 6,
    }


def test_a_test_set_may_have_forces_that_are_zero(path, tmp_path):
    """As crystals at their sites have: in a training set it is refused, for then there is nothing to learn from."""
    crystals = [labelled(bulk("C", "diamond", a=a), 0) for a in (3.4, 3.6)]
    for atoms in crystals:
        atoms.calc.results["forces"][:] = 0.0
    other = write_extxyz(tmp_path / "crystals.extxyz", crystals)
    notes = read(path, test={"crystals": other}).report["crystals"].notes
    assert any("forces: exactly zero in 2 frames, the first is" in note for note in notes)
    with pytest.raises(DataError, match="'forces' is exactly zero in all 2 frames"):
        read(other, split={"val": 0})
