"""Machine code of captured graphs: called from C++, else from Python; what a version of torch lacks is one message."""

import logging
import sys

import pytest
import torch
from test_capture import batch, small_potential

from eqff.compilation import inductor
from eqff.compilation.prediction import CompiledPrediction
from eqff.derivatives import differentiate
from eqff.errors import ModelError


@pytest.mark.slow
@pytest.mark.parametrize("in_cpp", [True, False])
def test_same_as_uncompiled(in_cpp, monkeypatch, caplog):
    """Where C++ can't be written, from Python and with one line in the log."""
    if not in_cpp:
        monkeypatch.setattr(inductor, "CPP", {"no_such_option": True})
    potential = small_potential()
    compiled = CompiledPrediction(potential)
    with caplog.at_level(logging.WARNING, logger="eqff"):
        for sizes in ((6, 5, 4), (3, 7)):
            graph = batch(potential, *sizes)
            found, plain = compiled(graph, False), differentiate(potential.energy, graph, create_graph=True)
            for name, value in plain.items():
                torch.testing.assert_close(found[name], value, rtol=1e-10, atol=1e-10)
    assert sum(map(len, compiled._codes.values())) == 1
    lines = [r.getMessage() for r in caplog.records if "called from Python" in r.getMessage()]
    assert len(lines) == (0 if in_cpp else 2)


@pytest.mark.slow
def test_one_structure_on_two_threads(caplog):
    potential, before = small_potential(num_passes=1), torch.get_num_threads()
    graph = batch(potential, 6)
    torch.set_num_threads(2)
    try:
        with caplog.at_level(logging.WARNING, logger="eqff"):
            found = CompiledPrediction(potential)(graph, False)
    finally:
        torch.set_num_threads(before)
    for name, value in differentiate(potential.energy, graph, create_graph=True).items():
        torch.testing.assert_close(found[name], value, rtol=1e-10, atol=1e-10)
    assert not caplog.records


@pytest.mark.parametrize("later", [False, True])
def test_called_from_python_where_cpp_does_not_work(later, monkeypatch, caplog):
    """Whether that shows when it is made or when it is called."""

    def fail(*_):
        raise RuntimeError("no such operation in C++")

    def compiled(graph, mode, in_cpp):
        if in_cpp and not later:
            fail()
        return fail if in_cpp else lambda values: graph(*values)

    monkeypatch.setattr(inductor, "_compiled", compiled)
    potential = small_potential(num_passes=1)
    graph = batch(potential, 4, 5)
    with caplog.at_level(logging.WARNING, logger="eqff"):
        found = CompiledPrediction(potential)(graph, False)
    torch.testing.assert_close(
        found["forces"], differentiate(potential.energy, graph)["forces"], rtol=1e-10, atol=1e-10
    )
    assert [r.getMessage() for r in caplog.records].count(
        "The compiled step is called from Python, which takes longer: no such operation in C++"
    ) == 2


def test_sizes_that_are_assumed_when_it_is_made_again_are_heeded(monkeypatch):
    """From Python, after the first call from C++ has failed."""

    def compiled(graph, mode, in_cpp):
        def run(values):
            if in_cpp:
                raise RuntimeError("no such operation in C++")
            return graph(*values)

        if not in_cpp:
            sizes = [
                s for node in graph.graph.find_nodes(op="placeholder") for s in getattr(node.meta["val"], "shape", ())
            ]
            assert [bool(size == size.node.hint) for size in sizes if isinstance(size, torch.SymInt)]
        return run

    monkeypatch.setattr(inductor, "_compiled", compiled)
    potential = small_potential(num_passes=1)
    made = CompiledPrediction(potential)
    for structures, codes in (((4, 5), 1), ((4, 5), 1), ((6, 5), 2)):
        made(batch(potential, *structures), False)
        assert sum(map(len, made._codes.values())) == codes


def imported_anew(monkeypatch):
    """What is only imported to compile; operations are defined once in a process. The package has modules too."""
    for module in ("capture", "code", "inductor", "rewrites"):
        monkeypatch.delitem(sys.modules, f"eqff.compilation.{module}", raising=False)
        monkeypatch.delattr(f"eqff.compilation.{module}", raising=False)


@pytest.mark.parametrize(
    ("module", "name"),
    [("torch._inductor.compile_fx", "compile_fx_inner"), ("torch._inductor.decomposition", "select_decomp_table")],
)
def test_what_a_version_of_torch_lacks_is_one_message(module, name, monkeypatch):
    monkeypatch.delattr(module + "." + name)
    imported_anew(monkeypatch)
    potential = small_potential()
    with pytest.raises(ModelError, match=f"can't compile.*{name}.*training.compile=false"):
        CompiledPrediction(potential, "none")(batch(potential, 4, 5), False)


def test_what_cannot_be_compiled_runs_uncompiled_where_that_may_be(monkeypatch, caplog):
    monkeypatch.delattr("torch._inductor.decomposition.select_decomp_table")
    imported_anew(monkeypatch)
    potential = small_potential()
    made, graph = CompiledPrediction(potential, "none", required=False), batch(potential, 4, 5)
    for _ in range(2):
        torch.testing.assert_close(made(graph, False)["forces"], potential(graph)["forces"], rtol=0.0, atol=0.0)
    assert [record.levelname for record in caplog.records if "run uncompiled" in record.message] == ["WARNING"]
    assert "select_decomp_table" in caplog.text


def test_a_model_that_cannot_be_compiled_trains_uncompiled_where_that_may_be(caplog):
    potential = small_potential()
    next(iter(potential.ordered_parts().values())).compiles = False
    with pytest.raises(ModelError, match="can't be compiled"):
        potential.compile_training_step()
    with caplog.at_level("INFO"):
        potential.compile_training_step(required=False)
    assert "run uncompiled" in caplog.text
    assert potential._compiled is None
