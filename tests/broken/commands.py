"""Runs a command as users do, in this process, and looks at what it says and leaves."""

from __future__ import annotations

import copy
import importlib
import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import hydra
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from eqff.command_line.overrides import HYDRA_VERSION_BASE
from eqff.command_line.run import run_command, without_traceback
from eqff.config import config_directory
from eqff.training.quiet import quiet_libraries

FOLDERS = {"train": "", "evaluate": "commands", "simulate": "commands"}
TASKS = {"train": "_train_from_command_line", "evaluate": "_from_command_line", "simulate": "_from_command_line"}
LONGEST = 1200  # characters: one message, not a page


def snapshot(folder: Path) -> dict[str, bytes]:
    """Content of every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@cache
def composed(command: str, fixed: tuple[str, ...]) -> DictConfig:
    """A command's config; composing takes longer than most refusals."""
    directory = config_directory() / FOLDERS[command]
    with hydra.initialize_config_dir(version_base=HYDRA_VERSION_BASE, config_dir=str(directory)):
        return hydra.compose(command, overrides=list(fixed))


def with_values(cfg: DictConfig, argv: Sequence[str]) -> DictConfig:
    """A copy of a config with the values of some overrides; none of them may choose an option of a group."""
    cfg = copy.deepcopy(cfg)
    OmegaConf.set_struct(cfg, False)
    for override in OverridesParser.create().parse_overrides(list(argv)):
        parent, _, name = override.key_or_group.rpartition(".")
        if override.is_delete():
            OmegaConf.select(cfg, parent).pop(name)
        else:
            OmegaConf.update(cfg, override.key_or_group, override.value(), force_add=True, merge=False)
    return cfg


def run_whole(command: str, argv: Sequence[str]) -> None:
    """The command from its command line on."""
    task = getattr(importlib.import_module(f"eqff.{command}"), TASKS[command])
    run_command(task, command, list(argv), FOLDERS[command])


def run_composed(command: str, cfg: DictConfig) -> None:
    """The command from its composed config on, as `run_command` goes on from there."""
    quiet_libraries()
    without_traceback(getattr(importlib.import_module(f"eqff.{command}"), command), cfg)


def refuses(capsys, run: Callable[[], None], *expected: str) -> None:
    """Checks what a command says that must refuse its input, and that it leaves nothing in the working folder.

    Args:
        capsys: Pytest's.
        run: Runs the command.
        expected: Patterns that its one message matches.
    """
    before = set(Path.cwd().iterdir())
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        run()
    captured = capsys.readouterr()
    assert left.value.code == 1, captured.err
    assert "Traceback" not in captured.err + captured.out
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("eqff: "), captured.err
    assert len(lines[0]) < LONGEST
    for pattern in expected:
        assert re.search(pattern, lines[0]), f"{pattern!r} is not in: {lines[0]}"
    assert set(Path.cwd().iterdir()) == before, "a refused command must leave nothing behind"
