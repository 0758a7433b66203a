"""The ladder of costs begins and ends with the models that it names, and memory is what tensors take."""

import importlib.util
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from eqff.config import config_directory

FILE = Path(__file__).parents[2] / "tools" / "stack_cost.py"


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("stack_cost", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def model(name):
    with initialize_config_dir(str(config_directory()), version_base="1.3"):
        return OmegaConf.to_container(compose("train", ["data.path=none", f"model={name}"]).model, resolve=True)


def test_rungs(tool):
    rungs = tool.rungs(tool.composed([]))
    assert list(rungs)[-3:] == ["+ direct induction", "+ mutual induction", "+ dispersion"]
    assert rungs["short_range"] == model("short_range")
    assert rungs["+ dispersion"] == model("full_stack")
    assert rungs["+ direct induction"]["terms"]["induction"]["mode"] == "direct"


def test_memory_is_the_most_that_is_held_at_once(tool):
    def work():
        first = torch.zeros(2**17, dtype=torch.float64)  # 1 MiB
        second = torch.zeros(2**18, dtype=torch.float64)
        del first
        return second, torch.zeros(2**16, dtype=torch.float64)

    assert tool.peak(work) == pytest.approx(3.0, abs=0.1)
