"""What is captured of a step, its operations run one by one: the same as uncompiled, for batches of other sizes too."""

import copy
import pickle
from dataclasses import replace

import pytest
import torch

from eqff.backbones.equivariant import EquivariantMessagePassing
from eqff.compilation import capture, code, prediction
from eqff.compilation.prediction import CompiledPrediction, uncompiled
from eqff.derivatives import differentiate
from eqff.errors import ModelError
from eqff.kernels.capture import captured
from eqff.kernels.library import library
from eqff.potential import Potential
from eqff.terms.local import LocalEnergy
from eqff.testing.graphs import graph_of
from eqff.testing.structures import molecule

ENERGIES = dict.fromkeys((1, 6, 7, 8), 0.0)


def small_potential(**changes) -> Potential:
    torch.manual_seed(0)
    settings = {"channels": 4, "degree": 1, "order": 2, "radial_hidden": 4, "radial_size": 4} | changes
    backbone = EquivariantMessagePassing(tuple(ENERGIES), 8.0, **settings)
    local = LocalEnergy(backbone.channels, backbone.num_passes, ENERGIES, hidden=4)
    return Potential(backbone, {"local": local}, elements=tuple(ENERGIES)).double().train()


@pytest.fixture(scope="module")
def compiled() -> CompiledPrediction:
    return CompiledPrediction(small_potential(), "none")


def batch(potential: Potential, *sizes: int):
    structures = [molecule(seed, size) for seed, size in enumerate(sizes)]
    return graph_of(structures, potential.neighbour_lists, torch.float64)


def slopes(potential, prediction):
    weights = torch.linspace(-1.0, 1.0, prediction["forces"].numel(), dtype=torch.float64).view(-1, 3)
    loss = (prediction["forces"] * weights).square().sum() + prediction["energy"].square().sum()
    trained = [p for p in potential.parameters() if p.requires_grad]
    return torch.autograd.grad(loss, trained, allow_unused=True, materialize_grads=True)


@pytest.mark.parametrize("sizes", [(6, 5, 4), (3, 7), (5, 6, 7, 8, 9)])
def test_same_for_batches_of_all_sizes_from_one_capture(compiled, sizes):
    potential = compiled._potential
    graph = batch(potential, *sizes)
    found, plain = compiled(graph, False), differentiate(potential.energy, graph, create_graph=True)
    assert list(found) == list(plain)
    for name, value in plain.items():
        torch.testing.assert_close(found[name], value, rtol=1e-12, atol=1e-12)
        assert found[name].requires_grad == value.requires_grad
    for ours, theirs in zip(slopes(potential, found), slopes(potential, plain), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    assert sum(map(len, compiled._codes.values())) == 1


@pytest.mark.slow
def test_products_on_the_grid_have_one_capture_too():
    """Fewer channels than a vector holds: there is no code of their own for symmetric products."""
    compiled = CompiledPrediction(small_potential(products="symmetric"), "none")
    for sizes in ((4, 5), (3, 7, 2)):
        compiled(batch(compiled._potential, *sizes), False)
    assert sum(map(len, compiled._codes.values())) == 1


def test_rules_of_derivatives_run_where_they_know_of_the_capture():
    """In this thread, also those of a GPU; what stands outside is as it was."""
    enabled = torch._C._is_multithreading_enabled
    before = enabled()
    with captured():
        assert not enabled()
    assert enabled() == before


def test_weights_are_those_of_now(compiled):
    potential = compiled._potential
    graph, before = batch(potential, 6, 5, 4), copy.deepcopy(potential.state_dict())
    first = compiled(graph, False)["forces"].detach()
    with torch.no_grad():
        for parameter in potential.parameters():
            parameter.mul_(1.1)
    moved = compiled(graph, False)["forces"]
    torch.testing.assert_close(moved, differentiate(potential.energy, graph)["forces"], rtol=1e-12, atol=1e-12)
    potential.load_state_dict(before)
    assert not torch.allclose(moved, first)


def test_tiny_batches_run_uncompiled(compiled):
    """An atom alone has no edges, and sizes of 0 and 1 are special to compilers."""
    graph = batch(compiled._potential, 1)
    made = sum(map(len, compiled._codes.values()))
    assert compiled(graph, False)["forces"].shape == (1, 3)
    assert sum(map(len, compiled._codes.values())) == made
    with uncompiled():
        compiled(batch(compiled._potential, 4), True)
    assert sum(map(len, compiled._codes.values())) == made


@pytest.mark.skipif(library() is None, reason="needs a C++ compiler")
def test_fused_operations_are_nodes(compiled):
    compiled(batch(compiled._potential, 6, 5, 4), False)
    ((code,),) = [codes for codes in compiled._codes.values()]
    nodes = {str(node.target) for part in (code.predict, code.derive) for node in part.graph.nodes}
    products = ("each_degree_map", "each_degree_outer", "products_value", "products_second", "rows_bilinear")
    for name in ("messages_sum", "messages_second", *products):
        assert f"eqff.{name}.default" in nodes


@pytest.mark.slow
def test_each_kind_of_step_is_compiled_for_so_many_sizes(monkeypatch):
    """Sizes of 1 and more are two codes; weights that are frozen don't use up what the others may have."""
    monkeypatch.setattr(prediction, "MOST", 1)
    potential = small_potential(num_passes=1)
    compiled, graph = CompiledPrediction(potential, "none"), batch(potential, 4, 5)
    compiled(graph, False)
    compiled(batch(potential, 6), False)
    assert [len(codes) for codes in compiled._codes.values()] == [1]
    potential.terms.requires_grad_(False)
    compiled(graph, False)
    assert [len(codes) for codes in compiled._codes.values()] == [1, 1]


def test_copies_have_their_own():
    potential = small_potential()
    potential.compile_training_step()
    for twin in (copy.deepcopy(potential), pickle.loads(pickle.dumps(potential))):
        assert twin._compiled is not potential._compiled and twin._compiled._potential is twin


def test_what_depends_on_values_is_refused():
    class Selecting(LocalEnergy):
        def forward(self, graph, fields):
            found = super().forward(graph, fields)
            return found | {"energy": found["energy"] * float(graph.positions.abs().max() > 0)}

    potential = small_potential(num_passes=1)
    potential.terms["local"].__class__ = Selecting
    with pytest.raises(ModelError, match=r"can't compile this model.*training\.compile=false"):
        CompiledPrediction(potential, "none")(batch(potential, 4, 5), False)


def test_derivatives_of_all_fields_are_held_against_the_plain_ones(monkeypatch):
    """Here that of features is wrong by a tenth."""
    potential = small_potential(num_passes=1)
    compile_captured = code.compile_captured

    def wrong(captured, compiler):
        made = compile_captured(captured, compiler)
        place = [name for name, follows in zip(made.names, made.differentiable, strict=True) if follows]
        field = place.index("features")
        given = len(place) - field

        def derive(*values):
            values = list(values)
            values[-given] = 1.1 * values[-given]
            return made.derive(*values)

        return replace(made, derive=derive)

    monkeypatch.setattr(code, "compile_captured", wrong)
    with pytest.raises(ModelError, match="other derivatives by"):
        CompiledPrediction(potential, "none")(batch(potential, 4, 5), False)


def test_numbers_that_are_none_are_left_to_the_training():
    potential = small_potential()
    with torch.no_grad():
        next(potential.parameters()).fill_(torch.nan)
    compiled = CompiledPrediction(potential, "none")
    assert compiled(batch(potential, 4, 5), False)["forces"].isnan().any()
    assert not any(compiled._codes.values())


def test_a_failure_without_a_word_is_one_message(monkeypatch):
    def fail(*_):
        raise AssertionError

    monkeypatch.setattr(capture, "capture", fail)
    potential = small_potential()
    with pytest.raises(ModelError, match=r"AssertionError\(\).*training\.compile=false"):
        CompiledPrediction(potential, "none")(batch(potential, 4, 5), False)
