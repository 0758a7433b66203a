"""Pretrained models: from a finished run to a name that loads."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir

import eqff
from eqff.build import ModelContext, build_potential
from eqff.checkpoints import MODEL_FILE, save_model
from eqff.config import config_directory
from eqff.errors import ConfigError
from eqff.registry import catalogue
from eqff.registry.texts import error_texts

PATH = Path(__file__).parents[2] / "tools" / "make_models.py"
CONFIG = {
    "backbone": {"_target_": "eqff.testing.minimal.MinimalBackbone", "channels": 4, "num_passes": 1, "cutoff": 3.0},
    "terms": {"local": {"_target_": "eqff.terms.local.LocalEnergy", "hidden": 4}},
}


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("make_models", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look it up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A finished run, and no registries but those of the test."""
    for name in ("EQFF_REGISTRY", "EQFF_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    folder, context = tmp_path / "run", ModelContext((1, 8), {1: -13.6, 8: -2042.0})
    torch.manual_seed(0)
    about = {
        "states": [{"total_charge": 0, "multiplicity": 1, "frames": 3}],
        "metrics": {"val/forces_mae": 1.0, "test/forces_mae": 2.5, "test/forces_max": 9.0},
        "units": {"forces_mae": "meV/Å"},
    }
    save_model(
        folder / MODEL_FILE, build_potential(CONFIG, context), model_config=CONFIG, context=context, metadata=about
    )
    (folder / "result.json").write_text(json.dumps({"interrupted": False}))
    return folder


def test_a_run_becomes_a_model_that_loads_by_name(tool, run, tmp_path):
    folder = tmp_path / "data" / "eqff" / "models"
    tool.train(run, ())  # finished, so that nothing is started
    for name in tool.RECIPES:
        tool.register(name, run, folder)
    assert set(tool.RECIPES) <= set(catalogue())
    entry = catalogue()["eqff-ions"]
    assert list(entry.elements) == ["H", "O"] and list(map(list, entry.states)) == [[0, 1]]
    assert error_texts(entry) == {"test/forces_mae": "2.5 meV/Å"}
    assert eqff.load("eqff-ions").elements == (1, 8)


def test_a_broken_registry_is_not_written_over(tool, run, tmp_path):
    (tmp_path / "models.json").write_text("{")
    with pytest.raises(ConfigError, match="can't be read"):
        tool.register("eqff-ions", run, tmp_path)
    assert (tmp_path / "models.json").read_text() == "{"


def test_recipes_are_configs_of_models_that_differ_in_range(tool):
    terms = {}
    for name, recipe in tool.RECIPES.items():
        with initialize_config_dir(version_base="1.3", config_dir=str(config_directory())):
            cfg = compose("train", overrides=[*tool.COMMON, *recipe.overrides, f"name={name}"])
        terms[name] = set(cfg.model.terms)
        assert cfg.model.backbone.charge_and_spin and cfg.model.backbone.num_passes == 2
    assert terms["eqff-ions"] - terms["eqff-ions-short"] == {"coulomb"}
