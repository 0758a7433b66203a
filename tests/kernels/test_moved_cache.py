"""Libraries in a cache that is moved: each finds the one it was linked with."""

import ctypes

import pytest

from eqff.kernels import library

ONE = 'extern "C" int eqff_one() { return 1; }'
TWO = """
extern "C" int eqff_one();
extern "C" __attribute__((visibility("default"))) int eqff_two() { return 2 * eqff_one(); }
"""


def test_a_library_finds_the_one_beside_it(tmp_path, monkeypatch):
    monkeypatch.setenv("EQFF_CACHE", str(tmp_path / "cache"))
    try:
        compiler = library.find_compiler()
    except FileNotFoundError:
        pytest.skip("needs a C++ compiler")
    one, source = library.compiled_text("one", ONE, compiler), tmp_path / "two.cpp"
    source.write_text(TWO)
    code = [library.compiled_object(source, (), "")]
    two = library.in_cache("two.so", lambda made: library.shared_library(made, code, library.beside(one)))
    moved = (tmp_path / "cache").rename(tmp_path / "elsewhere")
    assert ctypes.CDLL(str(moved / "kernels" / two.name)).eqff_two() == 2
