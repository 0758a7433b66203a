"""docs/systems.md: every line of settings composes, and its parts make a model."""

import re
import shlex
from pathlib import Path

import hydra
import pytest
import torch
from ase import Atoms
from ase.data import atomic_numbers
from omegaconf import OmegaConf

from eqff.build import ModelContext, build_potential
from eqff.command_line.run import open_override
from eqff.config import config_directory
from eqff.testing.graphs import graph_of

README = Path(__file__).parents[2] / "README.md"
PAGE = README.parent / "docs" / "systems.md"
SETTINGS = re.findall(r"^\|[^|]*\| `(model=[^`]+)` \|", PAGE.read_text(encoding="utf-8"), re.M)


@pytest.fixture(scope="module", autouse=True)
def composition():
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(config_directory())):
        yield


def build(settings, elements):
    cfg = hydra.compose("train", ["data.path=none", *map(open_override, settings)])
    context = ModelContext(elements, dict.fromkeys(elements, 0.0))
    return cfg, build_potential(OmegaConf.to_container(cfg.model, resolve=True), context)


def elements_of(settings):
    """The elements that a line gives values for, else those of organic molecules."""
    named = [atomic_numbers[symbol] for symbol in re.findall(r"[{ ]([A-Z][a-z]?): ", settings)]
    return sorted(set(named or (1, 6, 7, 8)))


def test_the_page_names_systems():
    assert len(SETTINGS) > 25


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_line_builds_a_model(settings):
    cfg, potential = build(shlex.split(settings), elements_of(settings))
    assert potential.terms
    trained = [name for name, loss in cfg.training.losses.items() if loss is not None]
    written = {name for part in [*potential.heads.values(), *potential.exchanges.values()] for name in part.writes}
    assert {"energy", "forces"} & set(trained) or set(trained) <= written


def test_the_readme_adds_a_part(tmp_path, monkeypatch):
    """Its energy term, in a package of one's own and by the settings that stand below it: two atoms 0.75 Å apart."""
    text = README.read_text(encoding="utf-8")
    file, code = re.search(r"```python\n# (my_parts/\w+\.py)\n(.*?)```", text, re.S).groups()
    (tmp_path / file).parent.mkdir()
    (tmp_path / file).write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("eqff.packages._ALLOWED_PACKAGES", ["eqff", "my_parts"])
    setting = re.search(r"model\.terms\.(\w+)\._target_=my_parts\S+", text)
    _, potential = build(["model=short_range", setting[0], f"model.terms.{setting[1]}.height=2.0"], [1, 8])
    pair = Atoms("OH", [[0, 0, 0], [0, 0, 0.75]], info={"total_charge": -1, "multiplicity": 1})
    graph = graph_of([pair], potential.neighbour_lists, torch.float32)
    x = 0.5
    energy = potential(graph)[f"energy_{setting[1]}"].item()
    assert energy == pytest.approx(2 * (1 - x**6 * (28 - 48 * x + 21 * x**2)))


def test_the_readme_composes_a_model(tmp_path):
    """Its YAML, in a folder of one's own."""
    text = re.search(r"```yaml\n# conf/(model/(\w+)\.yaml)\n(.*?)```", README.read_text(encoding="utf-8"), re.S)
    (tmp_path / "model").mkdir()
    (tmp_path / text[1]).write_text(text[3], encoding="utf-8")
    _, potential = build([f"hydra.searchpath=[file://{tmp_path}]", f"model={text[2]}"], [1, 6, 7, 8])
    assert set(potential.terms) == {"local", "equilibration", "d3"}
