"""docs/systems.md: every line of settings composes, and its parts make a model."""

import re
import shlex
from pathlib import Path

import hydra
import pytest
from ase.data import atomic_numbers
from omegaconf import OmegaConf

from eqff.build import ModelContext, build_potential
from eqff.cli import open_override
from eqff.config import config_directory

PAGE = Path(__file__).parents[2] / "docs" / "systems.md"
SETTINGS = re.findall(r"^\|[^|]*\| `(model=[^`]+)` \|", PAGE.read_text(encoding="utf-8"), re.M)


@pytest.fixture(scope="module", autouse=True)
def composition():
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(config_directory())):
        yield


def elements_of(settings):
    """The elements that a line gives values for, else those of organic molecules."""
    named = [atomic_numbers[symbol] for symbol in re.findall(r"[{ ]([A-Z][a-z]?): ", settings)]
    return sorted(set(named or (1, 6, 7, 8)))


def test_the_page_names_systems():
    assert len(SETTINGS) > 25


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_line_builds_a_model(settings):
    cfg = hydra.compose("train", ["data.path=none", *map(open_override, shlex.split(settings))])
    elements = elements_of(settings)
    potential = build_potential(
        OmegaConf.to_container(cfg.model, resolve=True), ModelContext(elements, dict.fromkeys(elements, 0.0))
    )
    assert potential.terms
    trained = [name for name, loss in cfg.training.losses.items() if loss is not None]
    written = {name for part in [*potential.heads.values(), *potential.exchanges.values()] for name in part.writes}
    assert {"energy", "forces"} & set(trained) or set(trained) <= written
