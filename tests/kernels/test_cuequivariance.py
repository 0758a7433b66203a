"""Messages by cuEquivariance against plain PyTorch: NVIDIA's kernels on a GPU, else the library's own plain method."""

import pytest
import torch

pytest.importorskip("cuequivariance_torch", reason="needs cuEquivariance: pip install 'eqff[cuequivariance]'")

from eqff.kernels import backends, choice
from eqff.kernels.backends import Backend
from eqff.kernels.cuequivariance import messages as by_cuequivariance
from eqff.kernels.cuequivariance import probe
from eqff.kernels.messages import FIRST, SECOND, SUM, EdgeOrder, messages
from eqff.testing.kernels import few_edges, hold_messages, hold_model, message_arrays

DEVICE = torch.device("cuda" if probe.available() else "cpu")


@pytest.fixture(autouse=True)
def cuequivariance_runs(monkeypatch):
    """On this device, whatever it is."""
    here = Backend("cuEquivariance", "eqff.kernels.cuequivariance", lambda: True, ("messages",))
    monkeypatch.setitem(backends.ACCELERATORS, "cuequivariance", {DEVICE.type: here})
    with choice.kernels("cuequivariance"):
        assert choice.implementation(torch.empty(0, device=DEVICE), "messages") is by_cuequivariance
        yield


@pytest.mark.parametrize(
    ("inputs", "outputs", "channels", "dtype"),
    [(1, 4, 3, torch.float64), (3, 2, 32, torch.float32), (2, 3, 1, torch.float64), (1, 1, 8, torch.float32)],
)
def test_messages(inputs, outputs, channels, dtype):
    torch.manual_seed(0)
    edges = few_edges(DEVICE)
    hold_messages(edges, message_arrays(edges, inputs, outputs, channels, dtype), outputs)


def test_one_edge():
    """A batch of one is something else to the library, unless it has indices."""
    torch.manual_seed(0)
    edges = EdgeOrder.of(torch.tensor([1], device=DEVICE), torch.tensor([0], device=DEVICE), 2)
    hold_messages(edges, message_arrays(edges, 2, 2, 3, torch.float64), 2)


@pytest.mark.parametrize("atoms", [1, 0])
def test_without_edges_or_atoms(atoms):
    empty = torch.empty(0, dtype=torch.int64, device=DEVICE)
    edges = EdgeOrder.of(empty, empty, atoms)
    given = message_arrays(edges, 4, 9, 3, torch.float64)
    out = messages(*given, edges)
    first = torch.autograd.grad(out.square().sum(), given)
    assert out.shape == (9, atoms, 3) and not any(value.any() for value in (out, *first))


def test_derivatives_against_differences():
    torch.manual_seed(0)
    receiver, sender = (torch.tensor(atoms, device=DEVICE) for atoms in ([0, 0, 1, 1], [1, 2, 2, 0]))
    few = EdgeOrder.of(receiver, sender, 3)
    given = message_arrays(few, 2, 2, 2, torch.float64)
    function = lambda *x: messages(*x, few)  # noqa: E731
    assert torch.autograd.gradcheck(function, given, fast_mode=True)
    assert torch.autograd.gradgradcheck(function, given, fast_mode=True)


@pytest.mark.parametrize("what", [SUM, FIRST, SECOND])
def test_polynomials_are_of_the_kind_that_kernels_take(what):
    """Segments of no axis or of one, that of the channels; a term for each place of a factor that is differentiated."""
    found = by_cuequivariance.polynomial(what, 4, 9, 64)
    shapes = {operand.segment_shape for operand in found.operands if operand.all_same_segment_shape()}
    assert shapes == {(), (64,)} and all(operand.all_same_segment_shape() for operand in found.operands)
    assert len(found.operations) == {SUM: 1, FIRST: 3, SECOND: 9}[what]


def test_a_model_and_its_training_gradient():
    hold_model("cuequivariance", DEVICE)
