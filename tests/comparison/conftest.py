"""One real training of a second or two, from which the other run folders are made by changing its files."""

import time

import hydra
import pytest
from ase.io import write
from changed_runs import change_run, frames

from eqff.comparison.wandb_log import read_log
from eqff.config import config_directory
from eqff.train import train
from eqff.training.quiet import quiet_libraries


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The folder of a finished run with a test set "far", two groups in it, and W&B's offline files."""
    quiet_libraries()
    folder = tmp_path_factory.mktemp("trained")
    write(folder / "train.extxyz", frames(12))
    write(folder / "far.extxyz", frames(6, seed=1))
    overrides = [
        f"data.path={folder}/train.extxyz",
        f"+data.test.far={folder}/far.extxyz",
        "model=minimal",
        "model.backbone.channels=4",
        "name=small",
        "trainer.max_epochs=3",
        "trainer.log_every_n_steps=1",
        "trainer.enable_progress_bar=false",
        "trainer.accelerator=cpu",
        "figures=false",
        "data.split.val=4",
        "data.batch_size=4",
        f"output={folder}/run",
    ]
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(config_directory())):
        cfg = hydra.compose("train", overrides=overrides)
    run = train(cfg).folder
    wait_for_log(run)
    return run


def wait_for_log(run, seconds=1200.0):
    """W&B's own process goes on writing its log for a moment after the run has ended."""
    (folder,) = (run / "wandb").glob("offline-run-*")
    deadline = time.monotonic() + seconds
    while read_log(folder).exit_code is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert read_log(folder).exit_code is not None, f"W&B has not ended for {seconds} s"


@pytest.fixture
def copy(trained, tmp_path):
    """Makes ``tmp_path/runs/NAME`` from the trained run, changed as `change_run` does."""

    def copied(name, **changes):
        return change_run(trained, tmp_path / "runs" / name, **changes)

    return copied
