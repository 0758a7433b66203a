"""`make setup` with settings: they take effect, or a line says why not. A script stands in for Python."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


@pytest.fixture
def setup(tmp_path):
    """Runs ``make setup`` with arguments; gives its exit status, its messages and what pip was asked for."""
    python, calls = tmp_path / ".venv" / "bin" / "python", tmp_path / "calls"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\necho "$@" >> {calls}\n')
    python.chmod(0o755)

    def run(*arguments):
        calls.unlink(missing_ok=True)
        command = ["make", "-s", "-C", str(ROOT), "setup", f"VENV={tmp_path}/.venv", *arguments]
        done = subprocess.run(command, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False)
        return done.returncode, done.stderr, calls.read_text() if calls.exists() else ""

    return run


def test_settings_are_those_of_the_first_set_up(setup):
    other = ("TORCH=torch==2.12.0", "PIPARGS=--extra-index-url https://example.org/cpu")
    code, _, asked = setup(*other)
    assert code == 0 and "--extra-index-url https://example.org/cpu torch==2.12.0 -c constraints.txt" in asked
    assert setup() == setup(*other) == (0, "", "")  # nothing to do
    _, _, again = setup("-W", "constraints.txt")  # as if it had changed
    assert again == asked


def test_other_settings_than_those_of_the_environment_are_refused(setup):
    assert "torch==" in setup()[2]
    for other in ("TORCH=torch==2.12.0", "EXTRAS=dev,qm", "PY=python3.99"):
        code, message, asked = setup(other)
        assert code != 0 and not asked
        assert "was made with the default settings. For others: make clean" in message


def test_an_environment_of_before_there_were_such_stamps(setup, tmp_path):
    setup()
    (tmp_path / ".venv" / ".stamp").write_text("")
    assert setup() == (0, "", "")
    assert setup("TORCH=torch==2.12.0")[0] != 0
    assert "torch==" in setup("-W", "constraints.txt")[2]
