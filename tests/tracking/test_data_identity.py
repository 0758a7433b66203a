"""What tells the data of runs apart: read from a folder, kept through JSON, different where the data are."""

import json

import pytest

from eqff.comparison.wandb_runs import make_run
from eqff.data.atoms import from_atoms
from eqff.data.statistics import content_hash, hash_in_a_row
from eqff.errors import TrainingError
from eqff.testing.structures import molecule
from eqff.tracking.data_identity import DataIdentity, stored_hash
from eqff.tracking.run_folder import RunFolder
from eqff.tracking.run_format import RUN_FORMAT
from eqff.training.resuming import require_same_data

REPORT = {
    "data_hash": "ab" * 32,
    "reference_energies": {"eV": {"1": -13.6, "8": -2041.0}, "level_of_theory": "PBE"},
    "sets": {"far": {"frames": 5, "elements": {"H": 10}, "states": {"0 singlet": 5}, "labels": [], "groups": 2}},
}


def write(folder, report=REPORT, split=None):
    (folder / "data_report.json").write_text(json.dumps(report))
    (folder / "splits.json").write_text(json.dumps(split or {"train": [0, 1], "val": [2], "test": []}))
    return DataIdentity.read(folder)


def test_read_and_kept_through_json(tmp_path):
    found = write(tmp_path)
    assert found.reference_energies == {"H": -13.6, "O": -2041.0} and found.level_of_theory == "PBE"
    assert found.sets["far"]["frames"] == 5 and "groups" not in found.sets["far"]
    assert DataIdentity.from_dict(json.loads(json.dumps(found.to_dict())) | {"of a later version": 1}) == found


def test_splits_are_told_apart(tmp_path):
    found = write(tmp_path)
    assert write(tmp_path, split={"train": [0, 2], "val": [1], "test": []}).split != found.split
    assert write(tmp_path, split={"train": [0, 1], "val": [2], "test": [], "seed": 3}).split == found.split


def test_nothing_known_and_damaged_files(tmp_path):
    assert DataIdentity.read(tmp_path) == DataIdentity()
    (tmp_path / "data_report.json").write_text("{")
    with pytest.raises(ValueError, match="Expecting"):
        DataIdentity.read(tmp_path)


def run_folder(folder, run_format, data_hash, sizes):
    """With what its files say about the data, in an earlier format or today's."""
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps({"format": run_format, "data_hash": data_hash}))
    sets = {name: {"frames": size, "labels": []} for name, size in sizes.items()}
    (folder / "data_report.json").write_text(json.dumps({"data_hash": data_hash, "sets": sets}))
    return folder


@pytest.mark.parametrize("known", [{"train": 3, "val": 1}, {"train": 4}])
def test_runs_of_before_hashes_said_where_training_sets_end(tmp_path, known):
    frames = [from_atoms(molecule(seed, 3)) for seed in range(4)]
    sets, moved = (frames[: known["train"]], frames[known["train"] :]), (frames[:2], frames[2:])
    older = run_folder(tmp_path / "older", 1, hash_in_a_row(*sets), known)
    newer = run_folder(tmp_path / "newer", RUN_FORMAT, content_hash(*sets), known)
    assert DataIdentity.read(older) == DataIdentity.read(newer)
    for folder in (older, newer):
        assert stored_hash(folder) == content_hash(*sets)
        require_same_data(RunFolder(folder), content_hash(*sets))
        with pytest.raises(TrainingError, match="its data has changed"):
            require_same_data(RunFolder(folder), content_hash(*moved))


def test_logs_of_before_hashes_said_where_training_sets_end(tmp_path):
    older = run_folder(tmp_path / "older", 1, "ab" * 32, {"train": 3, "val": 1})
    said = json.loads((older / "run.json").read_text())
    sets = {name: {"frames": size} for name, size in (("train", 3), ("val", 1))}
    config = {"about": {**said, "data": {"data_hash": "ab" * 32, "sets": sets}}}
    run = make_run("x", "x", config, {}, [], ended=True)
    assert run.data.data_hash == stored_hash(older) != "ab" * 32
