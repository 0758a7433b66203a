"""Help: every group and setting is explained, quickly, by the comments of the config files themselves."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqff.command_line.help_pages import groups, help_page
from eqff.command_line.run import run_command
from eqff.config import config_directory
from eqff.errors import ConfigError

CONF = config_directory()
FILES = sorted(path for path in CONF.rglob("*.yaml") if "experiment" not in path.parts)
SETTING = re.compile(r"^ *([\w]+):( .*)?$")
SELF_EVIDENT = ("_target_", "hydra", "defaults")


def settings_of(path):
    """Lines that set something, with the line before; Hydra's own block and lists of defaults left out."""
    block, before = "", ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and line[0] not in " #-":
            block = line.split(":")[0]
        if block not in ("hydra", "defaults") and SETTING.match(line):
            yield line, before
        before = line


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(CONF).as_posix())
def test_every_setting_has_a_comment(path):
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# ")
    for line, _ in settings_of(path):
        name, value = line.split(":", 1)
        opens_a_section = not value.strip()
        assert "#" in line or opens_a_section or name.strip() in SELF_EVIDENT, f"{path.name}: {line}"


@pytest.mark.parametrize("group", list(groups(CONF)))
def test_page_of_every_group_has_its_options_and_comments(group):
    page = help_page(CONF, "train", [group])
    for option in groups(CONF)[group]:
        assert f"\n{option}\n" in page
        for line in (CONF / group / f"{option}.yaml").read_text(encoding="utf-8").splitlines():
            assert line.startswith("# @package") or line in page


def test_pages_of_sections_and_of_dotted_names():
    assert "cpu_seconds" in help_page(CONF, "train", ["budget"])
    assert help_page(CONF, "train", ["training.losses"]) == help_page(CONF, "train", ["training/losses"])
    assert "cutoff" in help_page(CONF, "train", ["model.backbone"])
    assert "hydra" not in help_page(CONF, "train", ["dtype"])
    assert "labels" in help_page(CONF / "commands", "evaluate", ["data"])


@given(st.sampled_from(sorted(groups(CONF))), st.data())
def test_misspelt_topics_get_a_suggestion(group, data):
    position = data.draw(st.integers(0, len(group) - 1))
    wrong = group[:position] + "xq" + group[position:]
    with pytest.raises(ConfigError, match=f"no help on '{wrong}'.*{group}"):
        help_page(CONF, "train", [wrong])


@pytest.mark.parametrize(
    ("command", "folder"),
    [
        ("train", ""),
        *((name, "commands") for name in ("evaluate", "simulate", "spectrum", "uncertainty")),
    ],
)
def test_help_prints_the_settings_and_runs_nothing(command, folder, capsys):
    run_command(lambda cfg: pytest.fail("ran"), command, ["--help"], folder)
    shown = capsys.readouterr().out
    assert f"python -m eqff.{command} " in shown and "packages: []" in shown and "hydra" not in shown
    run_command(lambda cfg: pytest.fail("ran"), command, ["dtype", "-h"], folder)
    assert "float64" in capsys.readouterr().out
