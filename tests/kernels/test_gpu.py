"""Fused operations on a GPU at the sizes that they are for, and models that use them; nothing here runs without one."""

import pytest
import torch
from torch.nn.functional import relu

from eqff.build import ModelContext, build_potential
from eqff.compilation.prediction import CompiledPrediction
from eqff.data.flat import pack, unpack
from eqff.derivatives import differentiate
from eqff.kernels.backends import ACCELERATORS
from eqff.kernels.bilinear import RowBilinear
from eqff.kernels.choice import fused, kernels
from eqff.kernels.linear import degree_map
from eqff.kernels.messages import EdgeOrder, messages, messages_first, messages_second, messages_sum
from eqff.kernels.product_plans import MixedPlan, SymmetricPlan
from eqff.kernels.products import products, takes
from eqff.nn.many_body import product_plan
from eqff.nn.tensor_product import row_couplings
from eqff.testing.graphs import graph_of
from eqff.testing.kernels import hold_messages
from eqff.testing.structures import molecule

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
DEVICE = torch.device("cuda")
CAPTURED = {"order": 2, "degree": 1}
ELEMENTS = (1, 6, 7, 8)


def numbers(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, dtype=dtype, device=DEVICE, requires_grad=True)


def edges_of(atoms: int, neighbours: int) -> EdgeOrder:
    """As many on average; the last atom has none."""
    receiver = torch.randint(atoms - 1, (atoms * neighbours,), device=DEVICE).sort()[0]
    return EdgeOrder.of(receiver, torch.randint(atoms - 1, receiver.shape, device=DEVICE), atoms)


def message_arrays(
    edges: EdgeOrder, inputs: int, outputs: int, channels: int, dtype: torch.dtype
) -> list[torch.Tensor]:
    count, atoms = len(edges.sender), len(edges.into) - 1
    shapes = (count, outputs * inputs), (count, channels), (inputs, atoms, channels), (outputs, atoms, channels)
    return [numbers(*shape, dtype=dtype) for shape in shapes]


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    found, expected = found.detach(), expected.detach()
    assert found.isfinite().all()
    return float(torch.linalg.vector_norm(found.double() - expected) / torch.linalg.vector_norm(expected))


def potential_of(dtype: torch.dtype = torch.float64, **settings):
    backbone = {"_target_": "eqff.backbones.equivariant.EquivariantMessagePassing", "channels": 16, **settings}
    config = {"backbone": backbone, "terms": {"local": {"_target_": "eqff.terms.local.LocalEnergy"}}}
    torch.manual_seed(0)
    context = ModelContext(list(ELEMENTS), dict.fromkeys(ELEMENTS, 0.0), 12.0)
    return build_potential(config, context, dtype).to(DEVICE)


def batch_for(potential):
    structures = [molecule(seed, size, ELEMENTS) for seed, size in enumerate((9, 12, 20))]
    graph, lists = graph_of(structures, potential.neighbour_lists, potential.dtype), tuple(potential.neighbour_lists)
    return unpack([tensor.to(DEVICE) for tensor in pack(graph, lists)], lists)


def test_fused_operations_run_here():
    assert fused(torch.empty(0, device=DEVICE)) and fused(torch.empty(0, device=DEVICE, dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("atoms", "inputs", "outputs", "channels"),
    [(3000, 1, 9, 64), (3000, 4, 9, 64), (60, 4, 9, 64), (500, 9, 9, 64), (500, 4, 9, 100), (100, 16, 9, 48)],
)
@pytest.mark.parametrize("by", ["fused", *ACCELERATORS])
def test_messages(atoms, inputs, outputs, channels, dtype, by):
    """Values, first and second derivatives; one warp for each atom and several."""
    if by in ACCELERATORS and not ACCELERATORS[by][DEVICE.type].available():
        pytest.skip(f"needs the kernels of {by}")
    torch.manual_seed(0)
    edges = edges_of(atoms, 30)
    with kernels(by):
        given = message_arrays(edges, inputs, outputs, channels, dtype)[:3]
        hold_messages(edges, given, outputs, rounding=20)  # sums of hundreds


@pytest.mark.parametrize("degrees", [(1, 2, 2), (2, 2, 2), (4, 4, 4)])
def test_matrices_of_edges(degrees):
    torch.manual_seed(0)
    couplings = row_couplings(*degrees)
    for axes in ((0, 1, 2), (1, 0, 2), (2, 0, 1)):
        _, first, second = (couplings.dense.shape[axis] for axis in axes)
        x, y = numbers(5000, first), numbers(5000, second)
        assert error(RowBilinear.apply(x, y, couplings, axes), couplings.plain(x, y, axes)) < 1e-14


@pytest.mark.parametrize("kind", [MixedPlan, SymmetricPlan])
@pytest.mark.parametrize(("degree_out", "order"), [(2, 3), (1, 3), (0, 2)])
def test_products(kind, degree_out, order):
    torch.manual_seed(0)
    plan, channels = product_plan(2, degree_out, order, torch.float64, kind), 64
    factors, scale = numbers(9, 700, plan.parts_in * channels), numbers(700, plan.parts_scale * channels)
    assert takes(plan, factors[..., :channels])
    found, expected = products(factors, scale, plan), plan.plain(factors, scale)
    assert error(found, expected) < 1e-14
    slopes = [
        torch.autograd.grad(value.square().sum(), (factors, scale), create_graph=True) for value in (found, expected)
    ]
    for ours, theirs in zip(*slopes, strict=True):
        assert error(ours, theirs) < 1e-13
    second = [torch.autograd.grad(by[0].square().sum(), (factors, scale)) for by in slopes]
    for ours, theirs in zip(*second, strict=True):
        assert error(ours, theirs) < 1e-12


def test_derivatives_against_differences():
    torch.manual_seed(0)
    edges, couplings, plan = edges_of(5, 3), row_couplings(1, 1, 1), product_plan(1, 1, 3, torch.float64)
    paths, harmonics = couplings.dense.shape[1:]
    cases = [
        (lambda *x: messages(*x, edges), message_arrays(edges, 4, 4, 3, torch.float64)[:3]),
        (lambda *x: RowBilinear.apply(*x, couplings, (0, 1, 2)), (numbers(7, paths), numbers(7, harmonics))),
        (lambda *x: products(*x, plan), (numbers(4, 3, 9), numbers(3, 9))),
        (degree_map, (numbers(4, 3, 3), numbers(2, 3, 2))),
    ]
    for function, inputs in cases:
        assert torch.autograd.gradcheck(function, inputs, fast_mode=True)
        assert torch.autograd.gradgradcheck(function, inputs, fast_mode=True)


def test_the_same_to_the_bit():
    torch.manual_seed(0)
    edges = edges_of(1000, 40)
    *given, cotangent = message_arrays(edges, 4, 9, 64, torch.float32)
    with torch.no_grad():
        runs = [messages_second(*given, cotangent, *given, *edges.tensors) for _ in range(3)]
    assert all(torch.equal(one, other) for run in runs[1:] for one, other in zip(run, runs[0], strict=True))


def test_they_can_be_part_of_a_cuda_graph():
    torch.manual_seed(0)
    edges = edges_of(300, 20)
    *given, cotangent = (value.detach() for value in message_arrays(edges, 4, 9, 64, torch.float32))
    function = lambda: messages_first(*given, cotangent, *edges.tensors)  # noqa: E731
    function()  # compiled before
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = function()
    given[1].mul_(2.0)
    graph.replay()
    torch.cuda.synchronize()
    assert all(torch.equal(one, other) for one, other in zip(found, function(), strict=True))


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_another_gpu_than_the_current_one():
    torch.manual_seed(0)
    edges = edges_of(300, 20)
    given = message_arrays(edges, 4, 9, 64, torch.float32)[:3]
    other = torch.device("cuda", 1)
    there = EdgeOrder(*(tensor.to(other) for tensor in edges.tensors))
    found = messages(*(value.to(other) for value in given), there)
    assert torch.equal(found.to(DEVICE), messages(*given, edges))


@pytest.mark.slow
def test_couplings_beyond_32_bits():
    """27 million edges, whose couplings are more than 2³¹ numbers: the last atom has the last of them."""
    count, components = 2**31 // 81 + 1000, 9
    need = 3 * 4 * 81 * count
    if torch.cuda.mem_get_info()[0] < need:
        pytest.skip(f"needs {need / 2**30:.0f} GiB of a GPU's memory")
    receiver = torch.arange(count, device=DEVICE) // 50
    edges = EdgeOrder.of(receiver, receiver, int(receiver[-1]) + 1)
    atoms = len(edges.into) - 1
    couplings = torch.randn(count, 81, device=DEVICE)
    weights, features = torch.randn(count, 1, device=DEVICE), torch.randn(components, atoms, 1, device=DEVICE)
    found = messages_sum(couplings, weights, features, *edges.tensors)
    last = slice(int(edges.into[-2]), count)
    sent = torch.einsum("enm,mc,ec->nc", couplings[last].view(-1, 9, 9), features[:, -1], weights[last])
    torch.testing.assert_close(found[:, -1], sent, rtol=1e-5, atol=1e-5)
    by_couplings, *_ = messages_first(couplings, weights, features, found, *edges.tensors)
    expected = torch.einsum("nc,ec,mc->enm", found[:, -1], weights[last], features[:, -1]).flatten(1)
    torch.testing.assert_close(by_couplings[last], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("products_of", ["mixed", "symmetric"])
def test_a_training_step(products_of):
    """Energies, forces, stress and the gradient of a loss on them: fused and plain, of a flagship."""
    potential = potential_of(products=products_of)
    graph, found = batch_for(potential), {}
    trained = [value for value in potential.parameters() if value.requires_grad]
    for name in ("plain", "fused"):
        with kernels(name):
            predicted = differentiate(potential.energy, graph, create_graph=True)
            loss = predicted["forces"].square().sum() + relu(predicted["energy"]).sum()
            slopes = torch.autograd.grad(loss, trained, allow_unused=True, materialize_grads=True)
            found[name] = [predicted["energy"].detach(), predicted["forces"].detach(), *slopes]
    for ours, plain in zip(found["fused"], found["plain"], strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-8, atol=1e-9 * float(plain.abs().max().clamp(min=1e-3)))


def test_a_compiled_training_step():
    """Its own comparison with the uncompiled one raises if they differ; graphs hold the fused operations."""
    potential = potential_of(**CAPTURED).train()
    graph = batch_for(potential)
    compiled = CompiledPrediction(potential, "inductor")
    found, plain = compiled(graph, False), differentiate(potential.energy, graph, create_graph=True)
    torch.testing.assert_close(found["forces"], plain["forces"], rtol=1e-8, atol=1e-10)
    assert sum(map(len, compiled._codes.values())) == 1


def test_an_optimizer_s_steps_lower_the_loss():
    potential = potential_of(torch.float32)
    graph = batch_for(potential)
    target = torch.randn(graph.num_atoms, 3, device=DEVICE)
    optimizer = torch.optim.Adam(potential.parameters(), lr=3e-3)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = (differentiate(potential.energy, graph, create_graph=True)["forces"] - target).square().mean()
        loss.backward(inputs=[value for value in potential.parameters() if value.requires_grad])
        optimizer.step()
        losses.append(float(loss))
    assert losses[-1] < 0.9 * losses[0]
