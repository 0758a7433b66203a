"""Small data and configs for trainings that last a second."""

import hydra
import pytest
from ase.io import write
from springs import water_frames

from eqff.config import config_directory
from eqff.training.quiet import quiet_libraries


@pytest.fixture(autouse=True)
def quiet():
    quiet_libraries()


@pytest.fixture(scope="session")
def water_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "water.extxyz"
    write(path, water_frames(24))
    return path


@pytest.fixture
def compose(water_file, tmp_path):
    """Composes the training config for the water file with overrides, as the command line does."""

    def composed(*overrides, output="run"):
        own = [
            f"data.path={water_file}",
            "model=minimal",
            "model.backbone.channels=4",
            "tracking=none",
            "trainer.max_epochs=2",
            "trainer.log_every_n_steps=2",
            "trainer.enable_progress_bar=false",
            "figures=false",
            "trainer.accelerator=cpu",
            "data.split.val=4",
            "data.batch_size=4",
            f"output={tmp_path / output}",
        ]
        with hydra.initialize_config_dir(version_base="1.3", config_dir=str(config_directory())):
            return hydra.compose("train", overrides=[*own, *overrides])

    return composed
