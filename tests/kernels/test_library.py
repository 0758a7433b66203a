"""The compiled library: where it is kept, what it depends on, and what happens where it can't be had."""

import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch._inductor.exc import CppCompileError

from eqff.errors import ConfigError
from eqff.kernels import backends, choice, library
from eqff.kernels.backends import Backend
from eqff.kernels.cuequivariance import probe
from eqff.testing.graphs import graph_of
from eqff.testing.structures import one_of_each


def compiler(folder, script: str) -> tuple[str, ...]:
    """A compiler that knows its version and else does as a script says, whose last argument is the file to make."""
    path = folder / "compiler"
    path.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo 1.0 && exit\nfor made; do :; done\n{script}\n')
    path.chmod(0o755)
    return (str(path),)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            CppCompileError(["g++", "a.cpp"], "In file included from a.h\na.cpp:1: error: what is this?\n"),
            "what is this?",
        ),
        (subprocess.CalledProcessError(1, "ld", "", "ld: no such file\n"), "ld: no such file"),
        (subprocess.CalledProcessError(1, "ld", "", ""), "exit status 1"),
        (ValueError("\nunknown size\nof something"), "unknown size"),
        (ValueError(), "ValueError()"),
    ],
)
def test_the_line_of_an_error_that_says_what_is_wrong(error, line):
    found = library.complaint(error)
    assert line in found
    assert "\n" not in found and "In file" not in found


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty one."""
    monkeypatch.setenv("EQFF_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "kernels"


def told(caplog) -> str:
    """The one line of a failure."""
    with caplog.at_level(logging.WARNING):
        assert library.library.__wrapped__() is None
    (record,) = caplog.records
    assert "plain ones are used" in record.message and "docs/kernels.md" in record.message
    return record.message


def test_no_compiler(cache, monkeypatch, caplog):
    monkeypatch.setenv("CXX", "no-such-compiler -m64")
    assert "no-such-compiler" in told(caplog)


def test_a_compiler_that_fails(cache, tmp_path, monkeypatch, caplog):
    script = "echo 'In file included from a.h' >&2; echo 'a.cpp:1: error: what is this?' >&2; exit 1"
    monkeypatch.setenv("CXX", compiler(tmp_path, script)[0])
    assert "what is this?" in told(caplog)
    assert list(cache.iterdir()) == []


def test_a_compiler_that_makes_nothing_that_can_be_loaded(cache, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("CXX", compiler(tmp_path, 'echo text > "$made"')[0])
    told(caplog)


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EQFF_CACHE", str(tmp_path / "file"))
    monkeypatch.setenv("CXX", compiler(tmp_path, 'echo text > "$made"')[0])
    assert str(tmp_path / "file") in told(caplog)


def test_no_home(monkeypatch):
    for name in ("EQFF_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(library.Path, "expanduser", lambda self: (_ for _ in ()).throw(RuntimeError("No home.")))
    with pytest.raises(OSError, match="EQFF_CACHE"):
        library.cache_folder()


def test_where_it_is_kept(tmp_path, monkeypatch):
    monkeypatch.delenv("EQFF_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert library.cache_folder() == tmp_path / "eqff" / "kernels"
    monkeypatch.setenv("EQFF_CACHE", str(tmp_path / "own"))
    assert library.cache_folder() == tmp_path / "own" / "kernels"


def test_compiled_once(cache, tmp_path):
    found = compiler(tmp_path, f'echo run >> {tmp_path}/runs; echo text > "$made"')
    assert library.compiled(found) == library.compiled(found)
    assert (tmp_path / "runs").read_text() == "run\n"


def test_several_processes_compile_at_once(cache, tmp_path):
    """Each in a folder of its own; what stands in the cache is whole, whoever was last, and nothing else is left."""
    runs = tmp_path / "runs"  # none goes on before all have begun, but for at most 2 min
    wait = f"for n in $(seq 1200); do [ $(wc -l < {runs}) -ge 3 ] && break; sleep 0.1; done"
    found = compiler(tmp_path, f'echo run >> {runs}; printf ha > "$made"; {wait}; printf lf >> "$made"')
    with ThreadPoolExecutor(3) as pool:
        paths = set(pool.map(library.compiled, [found] * 3))
    (path,) = paths
    assert path.read_text() == "half" and list(cache.iterdir()) == [path]
    assert len(runs.read_text().split()) == 3


def test_another_machine_compiler_or_source_makes_another(tmp_path, monkeypatch):
    found = compiler(tmp_path, "")
    kinds = [library.fingerprint(found), library.fingerprint((*found, "-m64"))]
    with monkeypatch.context() as patch:
        patch.setattr(library, "processor", lambda: "another")
        kinds.append(library.fingerprint(found))
    with monkeypatch.context() as patch:
        patch.setattr(library, "FLAGS", library.FLAGS[1:])
        kinds.append(library.fingerprint(found))
    (tmp_path / "rows.cpp").write_text("// é")
    with monkeypatch.context() as patch:
        patch.setattr(library, "SOURCES", tmp_path)
        kinds.append(library.fingerprint(found))
    assert len(set(kinds)) == len(kinds)
    assert library.fingerprint(found) == kinds[0]


def test_processors_differ_by_their_kind_and_instruction_sets(tmp_path, monkeypatch):
    one = "processor: 0\nvendor_id: A\nmodel: 17\ncpu MHz: {mhz}\nflags: sse avx\n\n"
    texts = {
        "same": one.format(mhz=2000) + one.format(mhz=3000),
        "busier": one.format(mhz=2500) + one.format(mhz=1000),
        "newer": one.replace("17", "18"),
        "avx512": one.replace("avx", "avx avx512f"),
    }
    found = {}
    monkeypatch.setattr(library, "CPUINFO", tmp_path / "cpuinfo")
    for name, text in texts.items():
        (tmp_path / "cpuinfo").write_text(text)
        found[name] = library.processor()
    assert found["same"] == found["busier"]
    assert len({found[name] for name in ("same", "newer", "avx512")}) == 3
    (tmp_path / "cpuinfo").unlink()
    assert library.processor() == library.platform.node()


def test_the_command_can_fail_in_any_way():
    with pytest.raises(subprocess.CalledProcessError):
        library._run(["false"])


def test_choices(monkeypatch):
    with pytest.raises(ConfigError, match="Did you mean 'fused'"):
        choice.checked("fussed")
    monkeypatch.setattr(backends, "library", lambda: None)
    with pytest.raises(ConfigError, match="could not be compiled"):
        choice.checked("fused")


def test_where_there_is_a_gpu_nobody_asks_for_a_compiler_before_a_tensor_on_the_cpu_comes(monkeypatch):
    monkeypatch.setattr(backends, "library", lambda: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setitem(backends.BACKENDS, "meta", Backend("another", "", lambda: True))
    with choice.kernels("fused"):
        assert choice.fused(torch.empty(0, device="meta"))
        with pytest.raises(ConfigError, match=r"C\+\+ does not run here"):
            choice.fused(torch.empty(0))


def test_published_kernels_that_are_not_installed(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "cuequivariance_torch", None)
    probe.available.cache_clear()
    try:
        with pytest.raises(ConfigError, match=r"cuEquivariance does not run here.*'eqff\[cuequivariance\]'"):
            choice.checked("cuequivariance")
    finally:
        probe.available.cache_clear()
    (record,) = caplog.records
    assert "cuequivariance_torch" in record.message


def test_published_kernels_take_the_place_of_what_they_have(monkeypatch):
    """Where they are for the tensor's device; elsewhere its own backend runs, and plain operations where it can't."""
    some = Backend("some", "eqff.kernels.cuequivariance", lambda: True, ("probe",))
    monkeypatch.setitem(backends.ACCELERATORS, "cuequivariance", {"meta": some})
    monkeypatch.setitem(backends.BACKENDS, "meta", backends.BACKENDS["cpu"])
    here, there = torch.empty(0), torch.empty(0, device="meta")
    with choice.kernels("cuequivariance"):
        assert choice.implementation(there, "probe") is probe
        assert choice.implementation(there, "bilinear") is choice.implementation(here, "bilinear")
        monkeypatch.setattr(backends, "library", lambda: None)
        assert not choice.fused(here)
        with pytest.raises(ConfigError, match=r"'cuequivariance', but C\+\+ does not run"):
            choice.fused(there)


def test_without_a_library_a_model_runs_plain(monkeypatch):
    from eqff.build import ModelContext, build_potential

    backbone = {"_target_": "eqff.backbones.equivariant.EquivariantMessagePassing", "channels": 4, "cutoff": 3.0}
    local = {"_target_": "eqff.terms.local.LocalEnergy"}
    context = ModelContext([1, 6, 8], {1: -13.0, 6: -1000.0, 8: -2000.0}, 12.0)
    torch.manual_seed(0)
    potential = build_potential({"backbone": backbone, "terms": {"local": local}}, context, torch.float64)
    graph = graph_of(list(one_of_each((1, 6, 8)).values()), potential.neighbour_lists, torch.float64)
    expected = potential(graph)["forces"]
    monkeypatch.setattr(backends, "library", lambda: None)
    assert not choice.fused(graph.positions)
    torch.testing.assert_close(potential(graph)["forces"], expected, rtol=0.0, atol=1e-10)


def test_what_is_not_eager_runs_plain(monkeypatch):
    x = torch.ones(2)
    assert choice.eager()
    with torch.autocast("cpu", torch.bfloat16):
        assert not choice.eager()
    with torch.autograd.forward_ad.dual_level():
        assert not choice.eager()
    seen = []
    torch.func.vmap(lambda y: seen.append(choice.eager()) or y)(x)
    assert seen == [False]
    monkeypatch.delattr(torch._C, "_len_torch_dispatch_stack")  # a PyTorch that no longer has it
    assert not choice.eager()
