"""Runs are checked before any starts; what is left of each is read from its folder."""

import json
import sys

import pytest
from omegaconf import OmegaConf

from eqff.command_line.run import run_command
from eqff.errors import ConfigError
from eqff.sweep import sweep
from eqff.sweeps.planning import Planned, check_runs, composed, plan_grid, remember, remembered
from eqff.sweeps.progress import Progress, command_for, progress
from eqff.sweeps.space import read_space


def planned(tmp_path, *argv):
    return plan_grid(read_space(["data.path=a.xyz", "model=minimal", *argv]), tmp_path)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("training.optimizer.lrr=0.1,0.2", "Run lrr-0.1: .*lrr"),
        ("sede=0,1", "Run sede-0: There is no setting 'sede'. Did you mean"),
        ("model.backbone.channels=8,-1", "Run channels--1: model.backbone.channels is -1"),
        ("training/losses=energy,enrgy", "Run losses-enrgy: .*Did you mean 'energy'"),
    ],
)
def test_a_wrong_setting_is_told_before_anything_starts(argument, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        sweep(["data.path=a.xyz", "model=minimal", argument, f"sweep.folder={tmp_path}/s"])
    assert not (tmp_path / "s" / "logs").exists()


def test_good_runs_give_their_configs(tmp_path):
    configs = check_runs(planned(tmp_path, "seed=3,4"))
    assert [config["seed"] for config in configs] == [3, 4]


@pytest.fixture
def own_configs(tmp_path):
    """A user's folder of configs, with a data set."""
    folder = tmp_path / "my configs"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "mine.yaml").write_text("defaults: [file]\npath: mine.xyz\nbatch_size: 7\n")
    return folder


@pytest.mark.parametrize("form", ["--config-dir F", "--config-dir=F", "-cd F", "-cd=F", "--config-d=F"])
def test_configs_of_ones_own_are_those_of_the_training(form, own_configs, monkeypatch):
    options = [word.replace("F", str(own_configs)) for word in form.split()]
    argv = ["data=mine", *options, "model=minimal", "output=here"]  # whose default has the second in its name
    monkeypatch.setattr(sys, "argv", ["eqff-train"])
    trained = []
    run_command(trained.append, "train", argv)
    found = composed(argv)
    assert (found["data"]["path"], found["data"]["batch_size"]) == ("mine.xyz", 7)
    assert found == OmegaConf.to_container(trained[0], resolve=True)
    runs = plan_grid(read_space([*argv, "seed=3,4"]), own_configs)
    assert [config["data"]["batch_size"] for config in check_runs(runs)] == [7, 7]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--config-dir=nowhere"], "no folder 'nowhere'"),
        (["--cfg", "job"], "--cfg doesn't go with several trainings"),
        (["--config-path=somewhere"], "--config-path doesn't go with"),
        (["--multirun"], "--multirun doesn't go with"),
        (["--confg-dir=x"], "'--confg-dir=x' is not understood"),
    ],
)
def test_options_that_do_not_go_with_a_sweep(options, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        check_runs(planned(tmp_path, "seed=0,1", *options))


def test_a_folder_holds_one_sweep_to_which_runs_can_be_added(tmp_path):
    remember(tmp_path, planned(tmp_path, "seed=0,1"), {})
    remember(tmp_path, planned(tmp_path, "seed=1,2"), {})
    assert remembered(tmp_path, "seed-2").overrides[-1] == "seed=2"
    with pytest.raises(ConfigError, match="holds another sweep: its run seed-1 differs in name=x"):
        remember(tmp_path, planned(tmp_path, "seed=1,2", "name=x"), {})


def test_what_is_left_is_begun_resumed_or_skipped(tmp_path):
    run = Planned("a", ("seed=1",), tmp_path / "it's a, run")
    assert progress(run.folder) is Progress.NEW
    assert command_for(run)[3:] == ["seed=1", f"output='{tmp_path}/it\\'s a, run'"]

    run.folder.mkdir()
    (run.folder / "config.yaml").write_text("left by a process that was killed before its first state")
    assert progress(run.folder) is Progress.NEW
    command_for(run)
    assert not run.folder.exists()

    run.folder.mkdir()  # killed before it had its config: a training would take another folder
    command_for(run)
    assert not run.folder.exists()

    (run.folder / "checkpoints").mkdir(parents=True)
    (run.folder / "checkpoints" / "previous.ckpt").touch()
    (run.folder / "result.json").write_text(json.dumps({"interrupted": True}))
    assert progress(run.folder) is Progress.STOPPED
    assert command_for(run)[3:] == [f"resume='{tmp_path}/it\\'s a, run'"]

    (run.folder / "result.json").write_text(json.dumps({"interrupted": False}))
    assert progress(run.folder) is Progress.FINISHED
    (run.folder / "result.json").write_text('{"inter')
    assert progress(run.folder) is Progress.STOPPED
