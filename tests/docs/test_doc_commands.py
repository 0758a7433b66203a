"""Commands in the documentation name commands, groups and settings that exist; they are composed, not run."""

import re
import shlex
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from eqff.command_line.overrides import check_command_line, is_setting
from eqff.command_line.run import open_override
from eqff.config import config_directory
from eqff.training.finetuning.command_line import with_structure

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "experiments").rglob("README.md"))]
COMMAND = re.compile(r"^(?: {4}|\$ )?python -m eqff\.(\w+) (.*)$", re.M)
COMPOSED = ("train", "evaluate", "delta", "simulate", "spectrum", "uncertainty", "export", "active")
ELSEWHERE = ("--config-dir", "packages=", "finetune.model=runs", "finetune.model=sevenn", "-m", "--help", "NAME")
"""In commands that need a file of the reader's own, or name no setting."""


def commands(page):
    """Commands of a page with their arguments, lines that go on and remarks taken care of."""
    text = re.sub(r"\\\n\s*", " ", page.read_text(encoding="utf-8"))
    for name, rest in COMMAND.findall(text):
        arguments = shlex.split(re.split(r"\s+#", rest)[0])
        yield name, [argument for argument in arguments if argument != "..." and not argument.isupper()]


ALL = sorted({(name, tuple(arguments)) for page in PAGES for name, arguments in commands(page)})


def test_commands_are_installed():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    for name in {name for name, _ in ALL}:
        module, _, function = scripts[f"eqff-{name.replace('_', '-')}"].partition(":")
        assert module.startswith(f"eqff.{name}") and callable(getattr(import_module(module), function))


@pytest.mark.parametrize("name", COMPOSED)
def test_settings_exist(name):
    chosen = [arguments for command, arguments in ALL if command == name]
    assert chosen
    for arguments in chosen:
        if any(argument.startswith(ELSEWHERE) for argument in arguments):
            continue
        argv = sorted(map(open_override, arguments), key=is_setting)
        argv = with_structure(argv) if name == "train" else argv
        check_command_line(config_directory() / ("" if name == "train" else "commands"), name, argv)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_names_in_python_exist(page):
    for module, names in re.findall(r"^ *from (eqff[\w.]*) import ([\w, ]+)", page.read_text(encoding="utf-8"), re.M):
        for name in re.split(r",\s*", names.strip()):
            assert hasattr(import_module(module), name) or import_module(f"{module}.{name}"), f"{module}.{name}"
