"""Messages summed over neighbours: trilinear, one pass over the edges, with its first and second derivatives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from eqff.kernels.call import address, function, number, require, threads
from eqff.kernels.choice import eager
from eqff.kernels.rules import plain_gradients

SUM, FIRST, SECOND = 0, 1, 2


@dataclass(frozen=True)
class EdgeOrder:
    """A list of edges sorted by receiver, and the way through it by sender.

    Attributes:
        receiver: (E,), ascending.
        sender: (E,).
        into: Where the edges into each atom begin, (N + 1,).
        out_of: Where the edges out of each atom begin in ``order``, (N + 1,).
        order: The edges sorted by sender, (E,).
    """

    receiver: Tensor
    sender: Tensor
    into: Tensor
    out_of: Tensor
    order: Tensor

    @classmethod
    def of(cls, receiver: Tensor, sender: Tensor, num_atoms: int) -> EdgeOrder:
        """Of a list that is sorted by receiver, int64.

        Raises:
            ValueError: It is not, or names atoms that don't exist.
        """
        require(receiver.dtype == sender.dtype == torch.int64 and receiver.shape == sender.shape, receiver, sender)
        receiver, sender = receiver.contiguous(), sender.contiguous()
        into, out_of = receiver.new_empty(num_atoms + 1), receiver.new_empty(num_atoms + 1)
        order = torch.empty_like(sender)
        tensors = (receiver, sender, into, out_of, order)
        if function("edge_order")(number(len(sender)), number(num_atoms), *map(address, tensors)):
            raise ValueError(f"Edges are not sorted by receiver, or name atoms beyond the {num_atoms} there are.")
        return cls(receiver, sender, into, out_of, order)


def _run(what: int, edges: EdgeOrder, sizes: tuple[int, int], channels: int, **arrays: Tensor | None) -> None:
    names = ("T", "R", "h", "g", "T2", "R2", "h2", "by_T", "by_R", "by_h", "A")
    function("messages", arrays["T"].dtype)(
        what,
        *(number(len(edges.into) - 1), number(len(edges.sender)), number(channels)),
        *map(address, (edges.into, edges.receiver, edges.sender, edges.out_of, edges.order)),
        *map(number, sizes),
        *(address(arrays.get(name)) for name in names),
        threads(),
    )


def plain_messages(matrices: Tensor, weights: Tensor, features: Tensor, edges: EdgeOrder) -> Tensor:
    """The same as `messages` in plain PyTorch."""
    inputs, atoms, channels = features.shape
    sent = weights * features[:, edges.sender]
    each = torch.einsum("enm,mec->nec", matrices.view(len(weights), -1, inputs), sent)
    return each.new_zeros(each.shape[0], atoms, channels).index_add(1, edges.receiver, each)


def messages(matrices: Tensor, weights: Tensor, features: Tensor, edges: EdgeOrder) -> Tensor:
    """A_i[n, c] = Σ_e T_e[n, m] R_e[c] h_j[m, c] over edges e from j to i.

    Args:
        matrices: T, (E, outputs · inputs).
        weights: R, (E, C).
        features: h, (inputs, N, C).
        edges: Their order.

    Returns:
        (outputs, N, C).
    """
    (inputs, atoms, channels), count = features.shape, len(edges.sender)
    fits = matrices.dtype == weights.dtype == features.dtype and len(edges.into) == atoms + 1
    fits = fits and len(matrices) == count and matrices.shape[1] % inputs == 0
    require(fits and weights.shape == (count, channels), matrices, weights, features)
    return Messages.apply(matrices.contiguous(), weights.contiguous(), features.contiguous(), edges)


class Messages(torch.autograd.Function):
    """See `messages`; all arrays are contiguous."""

    @staticmethod
    def forward(ctx: Any, matrices: Tensor, weights: Tensor, features: Tensor, edges: EdgeOrder) -> Tensor:
        """The value; inputs are kept for the derivatives."""
        ctx.save_for_backward(matrices, weights, features)
        ctx.edges = edges
        inputs, atoms, channels = features.shape
        sizes = (matrices.shape[1] // inputs, inputs)
        out = features.new_empty(sizes[0], atoms, channels)
        _run(SUM, edges, sizes, channels, T=matrices, R=weights, h=features, A=out)
        return out

    @staticmethod
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:
        """Derivatives of the inner product with ``given`` (or ``along``) by the inputs."""
        saved, edges = ctx.saved_tensors, ctx.edges
        if not eager(given):
            return *plain_gradients(lambda *inputs: [plain_messages(*inputs, edges)], saved, [given]), None
        return *MessagesBackward.apply(*saved, given.contiguous(), edges), None


class MessagesBackward(torch.autograd.Function):
    """Derivatives of <g, A> by T, R and h."""

    @staticmethod
    def forward(ctx: Any, matrices: Tensor, weights: Tensor, features: Tensor, given: Tensor, edges: EdgeOrder) -> Any:
        """The value; inputs are kept for the derivatives."""
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(matrices, weights, features, given)
        ctx.edges = edges
        by = tuple(torch.empty_like(value) for value in (matrices, weights, features))
        values = {"T": matrices, "R": weights, "h": features, "g": given}
        _run(FIRST, edges, _sizes(given, features), features.shape[2], **values, **_results(by))
        return by

    @staticmethod
    def backward(ctx: Any, *along: Tensor | None) -> tuple[Tensor | None, ...]:
        """Derivatives of the inner product with ``given`` (or ``along``) by the inputs."""
        saved, edges = ctx.saved_tensors, ctx.edges
        if torch.is_grad_enabled() or not eager(*along):
            return *plain_gradients(lambda *inputs: _plain_first(*inputs, edges), saved, along), None
        matrices, weights, features, given = saved
        pairs = zip(along, saved[:3], strict=True)
        also = [torch.zeros_like(value) if a is None else a.contiguous() for a, value in pairs]
        by, out = tuple(torch.empty_like(value) for value in saved[:3]), torch.empty_like(given)
        values = {"T": matrices, "R": weights, "h": features, "g": given, "T2": also[0], "R2": also[1], "h2": also[2]}
        _run(SECOND, edges, _sizes(given, features), features.shape[2], **values, **_results(by), A=out)
        return *by, out, None


def _sizes(given: Tensor, features: Tensor) -> tuple[int, int]:
    return given.shape[0], features.shape[0]


def _results(by: tuple[Tensor, ...]) -> dict[str, Tensor]:
    return dict(zip(("by_T", "by_R", "by_h"), by, strict=True))


def _plain_first(matrices: Tensor, weights: Tensor, features: Tensor, given: Tensor, edges: EdgeOrder) -> tuple[Tensor]:
    inputs = [v if v.requires_grad else v.detach().requires_grad_() for v in (matrices, weights, features)]
    return torch.autograd.grad(plain_messages(*inputs, edges), inputs, given, create_graph=True)
