"""Offline W&B beside the plain files."""

import json
import re
import shutil
import subprocess
from unittest.mock import MagicMock

import pytest
import wandb
from omegaconf import OmegaConf

from eqff.comparison.wandb_log import read_records
from eqff.config import config_directory
from eqff.errors import ConfigError, TrainingError
from eqff.tracking import run_folder
from eqff.tracking.metric_files import MetricFiles, read_metrics
from eqff.tracking.run_folder import RunFolder, git_commit
from eqff.tracking.wandb import UNNAMED, TrackingSettings, wandb_logger
from eqff.train import train
from eqff.training.module import ForceFieldModule


def test_wandb_offline_run_is_left_and_resumed_under_its_id(compose):
    first = train(compose("tracking=wandb", "trainer.max_epochs=1"))
    identity = json.loads((first.folder / "wandb_run.json").read_text())["id"]
    train(compose(f"resume={first.folder}"), ["trainer.max_epochs=2"])
    runs = list((first.folder / "wandb").glob("offline-run-*"))
    assert runs
    # two runs of one identity that begin within one second: W&B appends -1 to the second
    assert all(re.fullmatch(rf"offline-run-\d+_\d+-{identity}(-\d+)?", run.name) for run in runs)
    logs = [path for run in runs for path in run.glob("*.wandb")]
    recorded = b"".join(path.read_bytes() for path in logs)
    for text in (b"val/forces_mae", b"data_hash", b"learning_rate"):
        assert text in recorded
    metrics = [r.metric for path in logs for r in read_records(path) if r and r.WhichOneof("record_type") == "metric"]
    assert {"train/*", "val/*"} <= {m.glob_name for m in metrics if m.step_metric == "trainer/global_step"}


def test_modes():
    with pytest.raises(ConfigError, match="Did you mean 'offline'"):
        TrackingSettings(mode="ofline")


@pytest.mark.parametrize(
    "error", [wandb.errors.UsageError("No API key configured."), wandb.errors.CommError("timeout")]
)
def test_an_online_run_that_wandb_does_not_take(tmp_path, monkeypatch, error):
    def refusing(**settings):
        raise error

    monkeypatch.setattr(wandb, "init", refusing)
    with pytest.raises(ConfigError, match=rf"{error} Log in once .*tracking.mode=offline"):
        wandb_logger(TrackingSettings(mode="online"), tmp_path, "run", {}, {})


def test_resumed_files_drop_rows_beyond_the_state(tmp_path):
    files = MetricFiles(tmp_path, {})
    for step in (10, 20, 30):
        files.log_metrics({"loss": float(step)}, step)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 40, "lo')  # killed while writing
    MetricFiles(tmp_path, {}, resume_step=20).log_metrics({"loss": 2.5}, 25)
    assert [row["step"] for row in read_metrics(tmp_path)] == [10, 20, 25]


def test_folders_get_numbers(tmp_path):
    names = [RunFolder.create(tmp_path / "run").path.name for _ in range(3)]
    assert names == ["run", "run-2", "run-3"]


def test_folders_below_home_and_none_of_their_own(tmp_path, monkeypatch):
    """Shells leave a tilde behind an equals sign as it is."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert RunFolder.create("~/runs/a").path == tmp_path / "runs" / "a"
    for taken in (".", "..", "/"):
        with pytest.raises(ConfigError, match="give its name"):
            RunFolder.create(taken)


def test_git_commit_is_a_commit_or_none():
    commit = git_commit()
    assert commit is None or len(commit.removesuffix("-dirty")) == 40


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_commit_is_not_that_of_another_repository(tmp_path, monkeypatch):
    """In which an environment with eqff lies, for example."""
    installed = tmp_path / "run_folder.py"
    installed.write_text("")
    (tmp_path / "theirs").write_text("")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    for command in (["init"], ["add", "theirs"], ["commit", "-m", "x"]):
        subprocess.run([*git, *command], check=True, capture_output=True)
    monkeypatch.setattr(run_folder, "__file__", str(installed))
    assert git_commit() is None
    subprocess.run([*git, "add", "run_folder.py"], check=True)
    assert git_commit().endswith("-dirty")


def test_a_training_that_fails_leaves_no_open_run(compose, monkeypatch):
    """The next one of the same process would write its rows into that run."""

    def failing(*args):
        raise TrainingError("too bad")

    monkeypatch.setattr(ForceFieldModule, "training_step", failing)
    with pytest.raises(TrainingError, match="too bad"):
        train(compose("tracking=wandb"))
    assert wandb.run is None


def test_runs_without_a_name_are_called_after_their_folders(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(wandb, "init", lambda **settings: shown.append(settings["name"]) or MagicMock())

    def name_of(folder, name):
        folder.mkdir(exist_ok=True)
        wandb_logger(TrackingSettings(), folder, name, {}, {})
        return shown[-1]

    assert OmegaConf.load(config_directory() / "train.yaml").name == UNNAMED
    one, other, old = tmp_path / "one", tmp_path / "other", tmp_path / "old"
    assert [name_of(folder, UNNAMED) for folder in (one, other)] == ["one", "other"]
    assert name_of(other, "baseline") == "baseline"
    assert name_of(one.rename(tmp_path / "moved"), UNNAMED) == "one"  # resumed
    old.mkdir()
    (old / "wandb_run.json").write_text('{"id": "0"}')  # begun when its name was that of the config
    assert name_of(old, UNNAMED) == UNNAMED
