"""What every backend of fused operations is held against: plain ones, to second derivatives."""

from __future__ import annotations

import torch
from torch import Tensor

from eqff.build import ModelContext, build_potential
from eqff.data.flat import pack, unpack
from eqff.derivatives import differentiate
from eqff.kernels.choice import kernels
from eqff.kernels.messages import EdgeOrder, messages_first, messages_second, messages_sum, plain_messages
from eqff.testing.graphs import graph_of
from eqff.testing.structures import molecule

ATOMS = 5


def few_edges(device: torch.device) -> EdgeOrder:
    """Of `ATOMS`: an atom without neighbours, one that sends more than it receives, an edge several times."""
    receiver = torch.tensor([0, 0, 0, 2, 2, 4, 4, 4, 4, 4, 4, 4, 4, 4], device=device)
    sender = torch.tensor([1, 1, 4, 0, 4, 0, 1, 2, 0, 0, 0, 0, 1, 2], device=device)
    return EdgeOrder.of(receiver, sender, ATOMS)


def message_arrays(edges: EdgeOrder, inputs: int, outputs: int, channels: int, dtype: torch.dtype) -> list[Tensor]:
    """Random T, R and h, on the edges' device."""
    count = len(edges.sender)
    shapes = (count, outputs * inputs), (count, channels), (inputs, len(edges.into) - 1, channels)
    return [_numbers(shape, dtype, edges) for shape in shapes]


def hold_messages(edges: EdgeOrder, given: list[Tensor], outputs: int, rounding: float = 8.0) -> None:
    """Sum, derivatives and their derivatives of ``given`` T, R and h against plain ones in float64.

    Args:
        edges: On the arrays' device.
        given: T, R and h.
        outputs: Components of the sum.
        rounding: Relative norm of the error, in units of the precision's last place: more for longer sums.

    Raises:
        AssertionError: They differ by more than the rounding of their precision.
    """
    dtype, (_, atoms, channels) = given[0].dtype, given[2].shape
    along = [_numbers(value.shape, dtype, edges) for value in given]
    cotangent = _numbers((outputs, atoms, channels), dtype, edges)
    exact, exact_along = ([v.detach().double().requires_grad_() for v in part] for part in (given, along))
    exact_cotangent = cotangent.detach().double().requires_grad_()
    total = plain_messages(*exact, edges)
    first = torch.autograd.grad(total, exact, exact_cotangent, create_graph=True)
    second = torch.autograd.grad(first, [*exact, exact_cotangent], exact_along)
    with torch.no_grad():
        found = [messages_sum(*given, *edges.tensors), *messages_first(*given, cotangent, *edges.tensors)]
        found += messages_second(*given, cotangent, *along, *edges.tensors)
    for ours, expected in zip(found, [total, *first, *second], strict=True):
        assert ours.dtype is dtype and ours.shape == expected.shape and ours.isfinite().all()
        error = torch.linalg.vector_norm(ours.double() - expected) / torch.linalg.vector_norm(expected)
        assert error < rounding * torch.finfo(dtype).eps


def hold_model(choice: str, device: torch.device) -> None:
    """A small model's energies, forces and the gradient of a loss on both, with this choice of kernels and plain.

    Raises:
        AssertionError: They differ by more than rounding.
    """
    torch.manual_seed(0)
    settings = {"channels": 3, "cutoff": 3.0, "degree": 1, "order": 2, "radial_hidden": 3, "radial_size": 3}
    backbone = {"_target_": "eqff.backbones.equivariant.EquivariantMessagePassing", **settings}
    config = {"backbone": backbone, "terms": {"local": {"_target_": "eqff.terms.local.LocalEnergy"}}}
    potential = build_potential(config, ModelContext([1, 8], {1: -13.0, 8: -2000.0}, 4.0), torch.float64).to(device)
    graph = graph_of([molecule(1, 4, (1, 8)), molecule(2, 3, (1, 8))], potential.neighbour_lists, torch.float64)
    lists, found = tuple(potential.neighbour_lists), {}
    graph = unpack([tensor.to(device) for tensor in pack(graph, lists)], lists)
    trained = [value for value in potential.parameters() if value.requires_grad]
    for name in ("plain", choice):
        with kernels(name):
            predicted = differentiate(potential.energy, graph, create_graph=True)
            loss = predicted["forces"].square().sum() + predicted["energy"].square().sum()
            slopes = torch.autograd.grad(loss, trained, allow_unused=True, materialize_grads=True)
            found[name] = [predicted["energy"].detach(), predicted["forces"].detach(), *slopes]
    for ours, plain in zip(found[choice], found["plain"], strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-10, atol=1e-12)


def _numbers(shape: tuple[int, ...], dtype: torch.dtype, edges: EdgeOrder) -> Tensor:
    return torch.randn(*shape, dtype=dtype).to(edges.sender.device).requires_grad_()
