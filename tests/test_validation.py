"""Settings against annotated signatures: a new part is checked by what its constructor declares, nothing else."""

import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Literal

import pytest
from annotated_types import Ge, Interval
from hypothesis import given
from hypothesis import strategies as st

from eqff.annotations import describe
from eqff.build import check_model
from eqff.config import config_directory, settings
from eqff.errors import ConfigError
from eqff.packages import allow
from eqff.ranges import Count, InnerShare, NonNegative, Positive, Share, Size
from eqff.validation import check_arguments, check_value, parameters_of

ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-50, 50),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.integers(), max_size=3),
)
NUMBERS = {
    Count: lambda x: type(x) is int and x >= 1,
    Size: lambda x: type(x) is int and x >= 0,
    Positive: lambda x: type(x) in (int, float) and math.isfinite(x) and x > 0,
    NonNegative: lambda x: type(x) in (int, float) and math.isfinite(x) and x >= 0,
    Share: lambda x: type(x) in (int, float) and 0 <= x <= 1,
    InnerShare: lambda x: type(x) in (int, float) and 0 < x < 1,
    Annotated[int, Interval(ge=0, le=4)]: lambda x: type(x) is int and 0 <= x <= 4,
    int: lambda x: type(x) is int,
    bool: lambda x: type(x) is bool,
    str: lambda x: type(x) is str,
    Literal["a", "b"]: lambda x: x in ("a", "b"),
    Sequence[int]: lambda x: type(x) is list,
    tuple[int, int]: lambda x: type(x) is list and len(x) == 2,
}


@pytest.mark.parametrize("hint", NUMBERS, ids=describe)
@given(value=ANYTHING)
def test_values_are_taken_exactly_where_they_fit(hint, value):
    for annotation, fits in ((hint, NUMBERS[hint](value)), (hint | None, value is None or NUMBERS[hint](value))):
        if fits:
            check_value(value, annotation, "a.b")
        else:
            with pytest.raises(ConfigError) as caught:
                check_value(value, annotation, "a.b")
            assert str(caught.value).startswith("a.b is ") and describe(hint) in str(caught.value)


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (Count | None, "a whole number of at least 1, or null"),
        (InnerShare, "a number above 0 and below 1"),
        (str | Path | Sequence[str | Path], "text, or a list, each text"),
        (float | Literal["lowest"] | None, "a number, or 'lowest', or null"),
        (Literal["nve", "nvt"], "one of 'nve', 'nvt'"),
        (Mapping[str, str | None], "a mapping of names to text, or null"),
        (tuple[float, float], "a list of 2: a number; a number"),
        (tuple[Annotated[int, Ge(0)], ...], "a list, each a whole number of at least 0"),
        (complex, ""),
    ],
)
def test_words(hint, words):
    assert describe(hint) == words


@dataclass(frozen=True)
class Oven:
    """A section."""

    temperature: Positive
    fan: bool = False


def test_sections():
    assert settings(Oven, {"temperature": 3}, "oven") == Oven(3)
    assert settings(Oven, {"fan": True}, "oven", given={"temperature": 2.0}).temperature == 2.0
    for values, message in (
        ({}, "oven.temperature is missing: give a number above 0"),
        ({"temprature": 3}, "oven.temprature is not a setting. Did you mean 'temperature'"),
        ({"temperature": 0}, "oven.temperature is 0, but must be a number above 0"),
        ("hot", "oven is 'hot', but is a section with these settings: temperature, fan"),
        (None, "oven is null, but is a section"),
    ):
        with pytest.raises(ConfigError, match=message):
            settings(Oven, values, "oven")
    with pytest.raises(ConfigError, match="temperature is not a setting"):
        settings(Oven, {"temperature": 3}, "oven", given={"temperature": 2.0})


def test_a_mistake_in_the_top_level_has_no_dot():
    with pytest.raises(ConfigError, match=r"^heat is not a setting"):
        check_arguments(Oven, {"temperature": 3, "heat": 1}, "")


PART = """
from typing import Literal
from eqff.ranges import Count
from eqff.terms.zbl import ZBLRepulsion

class Wall(ZBLRepulsion):
    def __init__(self, height: Count, elements: tuple[int, ...], kind: Literal["hard", "soft"] = "hard", loose=None):
        super().__init__(0.4, 0.8, True, elements)
"""


@pytest.fixture
def own_part(tmp_path, monkeypatch):
    (tmp_path / "walls_of_mine.py").write_text(PART)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("eqff.packages._ALLOWED_PACKAGES", ["eqff"])
    allow("walls_of_mine")
    return {"_target_": "walls_of_mine.Wall"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "model.terms.wall.height is missing: give a whole number of at least 1"),
        ({"height": 0}, "model.terms.wall.height is 0"),
        ({"height": 2, "kind": "sof"}, "model.terms.wall.kind is 'sof'.*Did you mean 'soft'"),
        ({"height": 2, "hight": 2}, "model.terms.wall.hight is not a setting. Did you mean 'height'"),
    ],
)
def test_a_part_of_ones_own_is_checked_by_its_annotations(own_part, arguments, message):
    with pytest.raises(ConfigError, match=message):
        check_model({"terms": {"wall": {**own_part, **arguments}}})
    check_model({"terms": {"wall": {**own_part, "height": 2, "loose": object}}})


def test_every_part_that_comes_with_eqff_has_settings_that_fit():
    from omegaconf import OmegaConf

    for kind in ("exchange", "head", "term"):
        for file in sorted((config_directory() / kind).glob("*.yaml")):
            backbone = {"_target_": "eqff.testing.minimal.MinimalBackbone"}
            part = OmegaConf.to_container(OmegaConf.load(file))
            check_model({"backbone": backbone, f"{kind}s": {"part": part}})
    for file in sorted((config_directory() / "model" / "backbone").glob("*.yaml")):
        check_model({"backbone": OmegaConf.to_container(OmegaConf.load(file))})


def test_suites_of_other_packages_know_the_marks(tmp_path):
    (tmp_path / "test_it.py").write_text("import pytest\n\n@pytest.mark.slow\ndef test_it():\n    pass\n")
    installed = any(entry.name == "eqff" for entry in entry_points(group="pytest11"))
    plugin = [] if installed else ["-p", "eqff.pytest_plugin"]  # an environment from before there was the entry point
    command = [sys.executable, "-m", "pytest", "-q", "--strict-markers", *plugin, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout


class Base:
    def __init__(self, size: Count, cutoff: Positive = 5.0):
        pass


class Derived(Base):
    def __init__(self, name: str = "a", cutoff: Positive = 3.0, **settings: object):
        super().__init__(cutoff=cutoff, **settings)


def test_settings_of_the_class_that_one_is_derived_from():
    check_arguments(Derived, {"size": 2, "name": "b"}, "part")
    parameters, _ = parameters_of(Derived)
    assert set(parameters) == {"size", "cutoff", "name"} and parameters["cutoff"].default == 3.0
    for values, told in (
        ({}, "part.size is missing"),
        ({"size": 0}, "part.size is 0, but must be a whole number of at least 1"),
        ({"size": 1, "cutof": 2.0}, "Did you mean 'cutoff'"),
        ({"size": 1, "settings": {}}, "part.settings is not a setting"),
    ):
        with pytest.raises(ConfigError) as caught:
            check_arguments(Derived, values, "part")
        assert told in str(caught.value)
