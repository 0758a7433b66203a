"""Evaluations beside trainings: what eqff.evaluate has written is read as a run, with the same numbers."""

import json

import hydra
import pytest

from eqff.compare import compare, parse
from eqff.comparison import Comparison, read_runs
from eqff.comparison.tables import SETTINGS
from eqff.config import config_directory
from eqff.errors import DataError
from eqff.evaluate import evaluate

CALCULATOR = "calculator={_target_: ase.calculators.lj.LennardJones, sigma: 1.0}"


@pytest.fixture(scope="module")
def folders(trained, tmp_path_factory):
    """The trained model evaluated once more, and a calculator."""
    folder = tmp_path_factory.mktemp("evaluations")
    common = [f"data.path={trained.parent}/far.extxyz", "name=far", "device=cpu", "packages=[ase]"]
    with (
        pytest.MonkeyPatch.context() as patch,
        hydra.initialize_config_dir(version_base="1.3", config_dir=str(config_directory() / "commands")),
    ):
        patch.setattr("eqff.packages._ALLOWED_PACKAGES", ["eqff"])
        for name, what in (("again", f"model={trained}"), ("calculator", CALCULATOR)):
            evaluate(hydra.compose("evaluate", [*common, what, f"output={folder}/{name}"]))
    return folder


def test_the_same_model_has_the_same_numbers_either_way(trained, folders):
    run, again = read_runs(trained, folders / "again").runs
    for name, value in again.metrics.items():
        assert value == pytest.approx(run.metrics[name], rel=1e-4), name  # batches of another size
        assert again.units[name] == run.units[name]
    assert again.name == "again" and again.sets == ("far",)
    assert again.data.sets["far"] == run.data.sets["far"]
    assert again.errors_by["far"].keys() == run.errors_by["far"].keys() and again.predictions["far"].is_file()


def test_trainings_and_calculators_in_one_table(trained, folders):
    (group,) = Comparison(read_runs(trained, folders).runs, metrics=["far/forces_mae"]).groups
    assert {row.label for row in group.rows} == {"small", "again", "calculator"}
    assert all(row.metric("far/forces_mae").mean > 0 for row in group.rows)
    assert not any(difference.metrics for difference in group.differences)  # the test set is one
    (settings,) = (table for table in group.tables() if table.title == SETTINGS)
    assert settings.columns == ("run", "evaluated")  # settings of a training are none of the others'


def test_everything_is_written(trained, folders, tmp_path):
    compare(parse([str(trained), str(folders), f"--output={tmp_path}", "--no-figures"]))
    assert "LennardJones(sigma=1)" in (tmp_path / "comparison.md").read_text()


def test_evaluations_of_two_models_in_one_folder_are_no_run(folders, tmp_path):
    for name in ("again", "calculator"):
        content = json.loads((folders / name / "far.json").read_text())
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
        (tmp_path / f"{name}.md").write_text("")
    with pytest.raises(DataError, match="evaluations of several models"):
        read_runs(tmp_path)
