"""Runs a command as users do, in this process, and looks at what it says and leaves."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from eqff.cli import run_command

FOLDERS = {"train": "", "evaluate": "commands", "simulate": "commands"}
TASKS = {"train": "_train_from_command_line", "evaluate": "_from_command_line", "simulate": "_from_command_line"}
LONGEST = 1200  # characters: one message, not a page


def snapshot(folder: Path) -> dict[str, bytes]:
    """Content of every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refusal(capsys, command: str, argv: list[str]) -> str:
    """The message of a command that must refuse its input: one line on stderr, exit code 1, nothing else there."""
    task = getattr(importlib.import_module(f"eqff.{command}"), TASKS[command])
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        run_command(task, command, argv, FOLDERS[command])
    captured = capsys.readouterr()
    assert left.value.code == 1, captured.err
    assert "Traceback" not in captured.err + captured.out
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("eqff: "), captured.err
    assert len(lines[0]) < LONGEST
    return lines[0]


def refuses(capsys, command: str, argv: list[str], *expected: str) -> None:
    """Checks that a command's one message matches all patterns, and that it leaves no folder of results behind."""
    before = set(Path.cwd().iterdir())
    message = refusal(capsys, command, argv)
    for pattern in expected:
        assert re.search(pattern, message), f"{pattern!r} is not in: {message}"
    assert set(Path.cwd().iterdir()) == before, "a refused command must leave nothing behind"
