"""Files that a killed compilation left half written: they are found, deleted, and compiled again."""

import os
import subprocess
import sys

import pytest
from torch._inductor.exc import CppCompileError, InductorError

from eqff.compilation.leftovers import compiled_whole, leftovers

PCH = "<command-line>: fatal error: cannot read PCH file: No such file or directory\ncompilation terminated."
TRUNCATED = "/usr/bin/ld: {folder}/a.o: file not recognized: file truncated\ncollect2: error: ld returned 1 exit status"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache of Inductor, with one file of each kind."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    for name in ("a.h", "a.h.gch", "a.o", "a.so", "a.cpp", "other.o"):
        (tmp_path / name).write_text("")
    return tmp_path


def failure(folder, output):
    """What Inductor raises where a compiler, whose command names all files but one, says this."""
    command = ["g++", "-include", f"{folder}/a.h", f"{folder}/a.cpp", f"{folder}/a.o", "-o", f"{folder}/a.so"]
    return InductorError(CppCompileError(command, output.format(folder=folder)), None)


@pytest.mark.parametrize("output", [PCH, TRUNCATED])
def test_what_is_half_written_is_made_again(output, cache):
    calls = []

    def make():
        calls.append(sorted(path.name for path in cache.iterdir()))
        if len(calls) == 1:
            raise failure(cache, output)
        return "made"

    assert compiled_whole(make) == "made"
    assert calls[1] == ["a.cpp", "a.h", "other.o"]


def test_a_library_that_can_not_be_loaded(cache):
    assert leftovers(OSError(f"{cache}/a.so: file too short")) == [cache / "a.so"]


@pytest.mark.parametrize("output", ["a.cpp:3: error: 'cos' was not declared", "", "a.cpp:3: error: no header a.h.gch"])
def test_other_errors_stay(output, cache):
    def make():
        raise failure(cache, output)

    with pytest.raises(InductorError):
        compiled_whole(make)
    assert len(list(cache.iterdir())) == 6


def test_files_elsewhere_stay(cache, tmp_path_factory):
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "a.so").write_text("")
    assert leftovers(OSError(f"{folder}/a.so: file too short")) == []


def test_one_after_the_other(cache):
    broken = [cache / "a.h.gch", cache / "other.o", cache / "a.so"]

    def make():
        for path in broken:
            if path.exists():
                raise OSError(f"{path}: file too short")
        return "made"

    assert compiled_whole(make) == "made"


@pytest.mark.parametrize("again", [False, True])
def test_what_stays_broken_is_told(again, cache):
    """Whether the file is gone afterwards, or made half again and again."""

    def make():
        if again:
            (cache / "a.so").write_text("")
        raise failure(cache, PCH)

    with pytest.raises(InductorError):
        compiled_whole(make)


TRAINING = """
import logging, sys, torch
logging.basicConfig(level=logging.INFO)
sys.path.insert(0, sys.argv[1])
from test_capture import batch, small_potential
from eqff.compilation.prediction import CompiledPrediction
potential = small_potential(num_passes=1)
print(CompiledPrediction(potential)(batch(potential, 4, 5), False)["energy"].tolist())
"""


@pytest.mark.slow
def test_a_step_after_a_compilation_was_killed(tmp_path):
    """With headers that end in the middle, as a killed compiler leaves them."""
    places = {"TMPDIR": str(tmp_path), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}

    def run():
        command = [sys.executable, "-c", TRAINING, os.path.dirname(__file__)]
        return subprocess.run(command, env=os.environ | places, capture_output=True, text=True, check=True)

    first = run()
    headers = list(tmp_path.rglob("*.gch"))
    assert headers
    for header in headers:
        os.truncate(header, header.stat().st_size // 2)
    for path in (tmp_path / "cache").rglob("*"):
        if path.suffix in (".o", ".so"):
            path.unlink()
    second = run()
    assert "cannot read PCH file" in second.stderr and "called from Python" not in second.stderr
    assert first.stdout == second.stdout
