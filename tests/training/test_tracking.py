"""Offline W&B beside the plain files."""

import json
import re

import pytest
import wandb

from eqff.errors import ConfigError, TrainingError
from eqff.tracking.metric_files import MetricFiles, read_metrics
from eqff.tracking.run_folder import RunFolder, git_commit
from eqff.tracking.wandb import TrackingSettings, wandb_logger
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
    recorded = b"".join(path.read_bytes() for run in runs for path in run.glob("*.wandb"))
    for text in (b"val/forces_mae", b"data_hash", b"learning_rate"):
        assert text in recorded


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


def test_git_commit_is_a_commit_or_none():
    commit = git_commit()
    assert commit is None or len(commit.removesuffix("-dirty")) == 40


def test_a_training_that_fails_leaves_no_open_run(compose, monkeypatch):
    """The next one of the same process would write its rows into that run."""

    def failing(*args):
        raise TrainingError("too bad")

    monkeypatch.setattr(ForceFieldModule, "training_step", failing)
    with pytest.raises(TrainingError, match="too bad"):
        train(compose("tracking=wandb"))
    assert wandb.run is None
