"""Offline W&B beside the plain files, and a real Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from eqff.errors import ConfigError
from eqff.tracking.metric_files import MetricFiles, read_metrics
from eqff.tracking.run_folder import RunFolder, git_commit
from eqff.tracking.wandb import TrackingSettings
from eqff.train import train


def test_wandb_offline_run_is_left_and_resumed_under_its_id(compose):
    first = train(compose("tracking=wandb", "trainer.max_epochs=1"))
    identity = json.loads((first.folder / "wandb_run.json").read_text())["id"]
    train(compose(f"resume={first.folder}"), ["trainer.max_epochs=2"])
    runs = list((first.folder / "wandb").glob("offline-run-*"))
    assert runs
    assert all(run.name.endswith(identity) for run in runs)
    recorded = b"".join(path.read_bytes() for run in runs for path in run.glob("*.wandb"))
    for text in (b"val/forces_mae", b"data_hash", b"learning_rate"):
        assert text in recorded


def test_modes():
    with pytest.raises(ConfigError, match="Did you mean 'offline'"):
        TrackingSettings(mode="ofline")


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


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one child")
def test_control_c_in_a_terminal(water_file, tmp_path):
    """The process is sent the signal in mid-training: it saves, says how to go on, and ends with 0."""
    command = [sys.executable, "-m", "eqff.train", f"data.path={water_file}", "model=minimal", "tracking=none"]
    command += ["figures=false", "trainer.max_epochs=100000", f"output={tmp_path / 'run'}", "training.validations=1000"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    metrics = tmp_path / "run" / "metrics.jsonl"
    deadline = time.monotonic() + 90
    while not (metrics.is_file() and metrics.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=90)
    assert process.returncode == 0, error
    assert f"python -m eqff.train resume={tmp_path / 'run'}" in out
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").is_file()
    assert (tmp_path / "run" / "model.safetensors").is_file()
    assert "Traceback" not in error
