"""What tells the data of runs apart: read from a folder, kept through JSON, different where the data are."""

import json

import pytest

from eqff.tracking.data_identity import DataIdentity

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
