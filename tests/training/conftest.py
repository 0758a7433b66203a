"""Small data and configs for trainings that last a second."""

import pytest
from ase.io import write
from broken.commands import composed, with_values
from omegaconf import OmegaConf
from springs import water_frames

from eqff.config import config_directory
from eqff.tracking.run_folder import git_commit
from eqff.training.quiet import quiet_libraries


@pytest.fixture(autouse=True)
def quiet(monkeypatch, commit):
    quiet_libraries()
    monkeypatch.setattr("eqff.tracking.run_folder.git_commit", lambda: commit)


@pytest.fixture(scope="session")
def commit():
    """That of the checkout, which Git takes a tenth of such a training's time to look for."""
    return git_commit()


@pytest.fixture(scope="session")
def water_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "water.extxyz"
    write(path, water_frames(24))
    return path


@pytest.fixture
def compose(water_file, tmp_path):
    """Composes the training config for the water file with overrides, as the command line does.

    What choices of options compose to is kept: it takes a quarter of such a training's time.
    """

    def compose(*overrides, output="run"):
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
        values = [text for text in own + list(overrides) if _is_value(text)]
        choices = tuple(text for text in own + list(overrides) if not _is_value(text))
        cfg = with_values(composed("train", choices), values)
        OmegaConf.set_struct(cfg, True)
        return cfg

    return compose


def _is_value(text):
    """Whether an override sets one value: it chooses no option of a group, takes nothing away and merges nothing."""
    key, _, value = text.lstrip("+").partition("=")
    chooses = "/" in key or "@" in key or (config_directory() / key).is_dir()
    return not (chooses or text.startswith("~") or value.startswith("{"))
