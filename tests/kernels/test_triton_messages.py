"""Messages and matrices of edges in Triton against plain PyTorch: on a GPU, or else in Triton's interpreter."""

import logging

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

# the interpreter of 3.6 does not get on with NumPy 2.4 and newer
pytest.importorskip("triton", None if torch.cuda.is_available() else "3.7", reason="needs Triton: pip install triton")

from eqff.errors import ConfigError
from eqff.kernels import backends, choice
from eqff.kernels.backends import Backend
from eqff.kernels.bilinear import RowBilinear
from eqff.kernels.capture import captured
from eqff.kernels.messages import EdgeOrder, messages
from eqff.kernels.triton import launch, probe
from eqff.kernels.triton.launch import Launch
from eqff.nn.tensor_product import row_couplings
from eqff.testing.kernels import ATOMS, few_edges, hold_messages, hold_model, message_arrays

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.fixture(autouse=True)
def triton_runs(monkeypatch):
    """On this device, whatever it is."""
    monkeypatch.setitem(backends.BACKENDS, DEVICE.type, Backend("Triton", "eqff.kernels.triton", lambda: True))


def numbers(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, dtype=dtype).to(DEVICE).requires_grad_()


@pytest.fixture
def edges() -> EdgeOrder:
    return few_edges(DEVICE)


@pytest.mark.parametrize(
    ("inputs", "outputs", "channels", "dtype"),
    [(1, 9, 3, torch.float64), (4, 4, 16, torch.float32), (1, 2, 70, torch.float64), (3, 2, 32, torch.float32)],
)
def test_messages(edges, inputs, outputs, channels, dtype):
    """One block of channels and several, full and partly empty ones."""
    torch.manual_seed(0)
    hold_messages(edges, message_arrays(edges, inputs, outputs, channels, dtype), outputs)


@pytest.mark.parametrize(("inputs", "outputs"), [(5, 2), (2, 5)])
def test_components_in_parts(edges, inputs, outputs, monkeypatch):
    """More components than a program keeps sums of."""
    monkeypatch.setattr(launch, "PART", 2)
    torch.manual_seed(0)
    hold_messages(edges, message_arrays(edges, inputs, outputs, 5, torch.float64), outputs)


def test_many_atoms(edges, monkeypatch):
    """One warp for each, whose lists of edges are longer than what is under way at once."""
    monkeypatch.setattr(launch, "MANY", 1)
    assert [Launch.of(ATOMS, 32, 2, held, torch.empty(0)).edges for held in (0, 2)] == [4, 4 * launch.STRIPS]
    torch.manual_seed(0)
    hold_messages(edges, message_arrays(edges, 2, 2, 32, torch.float32), 2)


def test_a_launch_covers_everything():
    blocks = [Launch.of(10_000, channels, 4, 9, torch.empty(0)).block for channels in (3, 16, 32, 64, 100, 128)]
    assert blocks == [16, 16, 32, 64, 64, 64]
    for channels in (1, 16, 17, 64, 80, 96, 100, 128, 300):
        for components, others in ((1, 9), (9, 9), (16, 25), (25, 25)):
            for dtype in (torch.float32, torch.float64):
                shape = Launch.of(10_000, channels, components, others, torch.empty(0, dtype=dtype))
                assert shape.block * shape.blocks >= channels and shape.block * (shape.blocks - 1) < channels
                assert shape.part * shape.parts >= components and shape.part * (shape.parts - 1) < components
                assert shape.edges & (shape.edges - 1) == 0 < shape.edges  # Triton's shapes are powers of two


def test_derivatives_against_differences():
    torch.manual_seed(0)
    receiver, sender = (torch.tensor(atoms, device=DEVICE) for atoms in ([0, 0, 1, 1], [1, 2, 2, 0]))
    few = EdgeOrder.of(receiver, sender, 3)
    given = numbers(4, 4), numbers(4, 2), numbers(2, 3, 2)
    function = lambda *x: messages(*x, few)  # noqa: E731
    assert torch.autograd.gradcheck(function, given, fast_mode=True)
    assert torch.autograd.gradgradcheck(function, given, fast_mode=True)


@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 0, 2), (2, 1, 0)])
def test_rows(axes):
    """Rows of which one is part of a wider one, more than a program takes; and the derivatives of both."""
    torch.manual_seed(0)
    couplings = row_couplings(1, 2, 2)
    _, first, second = (couplings.dense.shape[axis] for axis in axes)
    wide, y = numbers(67, first + 3), numbers(67, second)
    function = lambda x, y: RowBilinear.apply(x[:, 3:], y, couplings, axes)  # noqa: E731
    torch.testing.assert_close(function(wide, y), couplings.plain(wide[:, 3:], y, axes), rtol=1e-13, atol=1e-13)
    if axes == (0, 1, 2):
        wide, y = wide[:5].detach().requires_grad_(), y[:5].detach().requires_grad_()
        assert torch.autograd.gradgradcheck(function, (wide, y), fast_mode=True)


def test_order_of_edges():
    """As C++ finds it."""
    generator = torch.Generator().manual_seed(0)
    receiver, sender = torch.randint(20, (100,), generator=generator).sort()[0], torch.randint(19, (100,))
    order = EdgeOrder.of(receiver.to(DEVICE), sender.to(DEVICE), 20)
    assert torch.equal(order.order.cpu(), sender.argsort(stable=True))
    for begins, atoms in ((order.into, receiver), (order.out_of, sender)):
        assert torch.equal(begins.cpu().diff(), torch.bincount(atoms, minlength=20)) and begins[0] == 0
    for receiver, sender in (([0, 2, 1], [1, 1, 0]), ([0, 1, 5], [1, 0, 0]), ([0, 1, 2], [1, -1, 0])):
        with pytest.raises(ValueError, match="sorted by receiver"):
            EdgeOrder.of(torch.tensor(receiver, device=DEVICE), torch.tensor(sender, device=DEVICE), 5)


@pytest.mark.parametrize("atoms", [1, 0])
def test_without_edges_or_atoms(atoms):
    empty = torch.empty(0, dtype=torch.int64, device=DEVICE)
    order, couplings = EdgeOrder.of(empty, empty, atoms), row_couplings(1, 1, 1)
    given = numbers(0, 36), numbers(0, 3), numbers(4, atoms, 3)
    out = messages(*given, order)
    assert out.shape == (9, atoms, 3) and not out.any()
    first = torch.autograd.grad(out.square().sum(), given, create_graph=True)
    second = torch.autograd.grad(sum(value.square().sum() for value in first), given, allow_unused=True)
    assert not any(value.any() for value in (*first, *second) if value is not None)
    rows = RowBilinear.apply(*(numbers(0, size) for size in couplings.dense.shape[1:]), couplings, (0, 1, 2))
    assert rows.shape == (0, couplings.dense.shape[0])


def test_a_model_and_its_training_gradient():
    hold_model("auto", DEVICE)


def test_captured_graphs_call_it():
    """Graphs have one node for each operation, which runs Triton when they do."""
    torch.manual_seed(0)
    couplings = row_couplings(1, 1, 1)
    receiver, sender = (torch.tensor(atoms, device=DEVICE) for atoms in ([0, 0, 1, 1], [1, 2, 2, 0]))
    paths, harmonics = couplings.dense.shape[1:]
    given = numbers(4, paths), numbers(4, harmonics), numbers(4, 2), numbers(4, 3, 2)

    def slopes(paths, harmonics, weights, features, receiver, sender):
        assert choice.fused(features)
        matrices = RowBilinear.apply(paths, harmonics, couplings, (0, 1, 2))
        total = messages(matrices, weights, features, EdgeOrder.of(receiver, sender, 3)).square().sum()
        (along,) = torch.autograd.grad(total, harmonics, create_graph=True)
        return torch.autograd.grad(along.square().sum(), (paths, weights, features))

    with captured():
        graph = make_fx(slopes, tracing_mode="fake")(*given, receiver, sender)
    names = {str(node.target) for node in graph.graph.nodes}
    operations = ("edge_order", "rows_bilinear", "messages_sum", "messages_first", "messages_second")
    assert {f"eqff.{name}.default" for name in operations} <= names
    for found, expected in zip(graph(*given, receiver, sender), slopes(*given, receiver, sender), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_where_triton_does_not_run(monkeypatch, caplog):
    """Plain operations do, with one line that says why; an error where fused ones must."""
    from eqff.kernels.triton import trial

    def missing(device):
        raise RuntimeError("no C compiler\nin a long message")

    monkeypatch.setattr(trial, "trial", missing)
    with caplog.at_level(logging.WARNING):
        runs = probe.available.__wrapped__()
    (record,) = caplog.records
    assert not runs and "(no C compiler)" in record.message and "docs/kernels.md" in record.message
    monkeypatch.setitem(backends.BACKENDS, DEVICE.type, Backend("Triton", "eqff.kernels.triton", lambda: False))
    assert not choice.fused(torch.empty(0, device=DEVICE))
    token = choice._chosen.set("fused")
    try:
        with pytest.raises(ConfigError, match="Triton does not run here"):
            choice.fused(torch.empty(0, device=DEVICE))
    finally:
        choice._chosen.reset(token)


def test_the_trial_runs_what_it_says():
    from eqff.kernels.triton.trial import trial

    trial(DEVICE)
