"""Messages summed over neighbours: trilinear, one pass over the edges, with its first and second derivatives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from eqff.kernels.call import require
from eqff.kernels.capture import each_like, operation
from eqff.kernels.choice import implementation, own_derivatives
from eqff.kernels.rules import plain_gradients

SUM, FIRST, SECOND = 0, 1, 2
_EDGES = "Tensor receiver, Tensor sender, Tensor into, Tensor out_of, Tensor order"


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
        return cls(receiver, sender, *edge_order(receiver, sender, num_atoms))

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """As operations take them."""
        return self.receiver, self.sender, self.into, self.out_of, self.order


def _order_like(receiver: Tensor, sender: Tensor, num_atoms: int) -> tuple[Tensor, ...]:
    return receiver.new_empty(num_atoms + 1), receiver.new_empty(num_atoms + 1), torch.empty_like(sender)


@operation("(Tensor receiver, Tensor sender, SymInt num_atoms) -> (Tensor, Tensor, Tensor)", _order_like)
def edge_order(receiver: Tensor, sender: Tensor, num_atoms: int) -> tuple[Tensor, ...]:
    """``into``, ``out_of`` and ``order`` of an `EdgeOrder`.

    Raises:
        ValueError: Edges are not sorted, or name atoms that don't exist.
    """
    found = _order_like(receiver, sender, num_atoms)
    if not implementation(receiver, "messages").edge_order(receiver, sender, *found):
        raise ValueError(f"Edges are not sorted by receiver, or name atoms beyond the {num_atoms} there are.")
    return found


def _run(what: int, edges: tuple[Tensor, ...], given: Tensor, features: Tensor, **arrays: Tensor) -> None:
    implementation(features, "messages").run(what, edges, given, features, {"h": features, **arrays})


def _sum_like(matrices: Tensor, weights: Tensor, features: Tensor, *edges: Tensor) -> Tensor:
    inputs, atoms, channels = features.shape
    return features.new_empty(matrices.shape[1] // inputs, atoms, channels)


@operation(f"(Tensor matrices, Tensor weights, Tensor features, {_EDGES}) -> Tensor", _sum_like)
def messages_sum(matrices: Tensor, weights: Tensor, features: Tensor, *edges: Tensor) -> Tensor:
    """See `messages`."""
    out = _sum_like(matrices, weights, features)
    _run(SUM, edges, out, features, T=matrices, R=weights, A=out)
    return out


def _first_like(*tensors: Tensor) -> tuple[Tensor, ...]:
    return each_like(*tensors[:3])


@operation(
    f"(Tensor matrices, Tensor weights, Tensor features, Tensor given, {_EDGES}) -> (Tensor, Tensor, Tensor)",
    _first_like,
)
def messages_first(
    matrices: Tensor, weights: Tensor, features: Tensor, given: Tensor, *edges: Tensor
) -> tuple[Tensor, ...]:
    """Derivatives of <given, A> by T, R and h."""
    by = _first_like(matrices, weights, features)
    _run(FIRST, edges, given, features, T=matrices, R=weights, g=given, **_results(by))
    return by


def _second_like(*tensors: Tensor) -> tuple[Tensor, ...]:
    return each_like(*tensors[:4])


@operation(
    "(Tensor matrices, Tensor weights, Tensor features, Tensor given, Tensor matrices2, Tensor weights2, "
    f"Tensor features2, {_EDGES}) -> (Tensor, Tensor, Tensor, Tensor)",
    _second_like,
)
def messages_second(
    matrices: Tensor, weights: Tensor, features: Tensor, given: Tensor, *also_and_edges: Tensor
) -> tuple[Tensor, ...]:
    """Derivatives of <(T2, R2, h2), `messages_first`> by T, R, h and what was given."""
    also, edges = also_and_edges[:3], also_and_edges[3:]
    *by, out = _second_like(matrices, weights, features, given)
    values = {"T": matrices, "R": weights, "g": given, **dict(zip(("T2", "R2", "h2"), also, strict=True))}
    _run(SECOND, edges, given, features, **values, **_results(by), A=out)
    return *by, out


def plain_messages(matrices: Tensor, weights: Tensor, features: Tensor, edges: EdgeOrder) -> Tensor:
    """The same as `messages` in plain PyTorch."""
    inputs, atoms, channels = features.shape
    sent = weights * features[:, edges.sender]
    matrices = matrices.view(len(weights), matrices.shape[1] // inputs, inputs)
    each = torch.einsum("enm,mec->nec", matrices, sent)
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
    (inputs, atoms, channels), count = features.shape, edges.sender.shape[0]
    fits = matrices.dtype == weights.dtype == features.dtype and edges.into.shape[0] == atoms + 1
    fits = fits and matrices.shape[0] == count and matrices.shape[1] % inputs == 0
    require(fits and weights.shape == (count, channels), matrices, weights, features)
    return Messages.apply(matrices.contiguous(), weights.contiguous(), features.contiguous(), edges)


class Messages(torch.autograd.Function):
    """See `messages`; all arrays are contiguous."""

    @staticmethod
    def forward(ctx: Any, matrices: Tensor, weights: Tensor, features: Tensor, edges: EdgeOrder) -> Tensor:
        """The value; inputs are kept for the derivatives."""
        ctx.save_for_backward(matrices, weights, features)
        ctx.edges = edges
        return messages_sum(matrices, weights, features, *edges.tensors)

    @staticmethod
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:
        """Derivatives of the inner product with ``given`` (or ``along``) by the inputs."""
        saved, edges = ctx.saved_tensors, ctx.edges
        if not own_derivatives(given):
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
        return messages_first(matrices, weights, features, given, *edges.tensors)

    @staticmethod
    def backward(ctx: Any, *along: Tensor | None) -> tuple[Tensor | None, ...]:
        """Derivatives of the inner product with ``given`` (or ``along``) by the inputs."""
        saved, edges = ctx.saved_tensors, ctx.edges
        if torch.is_grad_enabled() or not own_derivatives(*along):
            return *plain_gradients(lambda *inputs: _plain_first(*inputs, edges), saved, along), None
        pairs = zip(along, saved[:3], strict=True)
        also = [torch.zeros_like(value) if a is None else a.contiguous() for a, value in pairs]
        return *messages_second(*saved, *also, *edges.tensors), None


def _results(by: Sequence[Tensor]) -> dict[str, Tensor]:
    return dict(zip(("by_T", "by_R", "by_h"), by, strict=True))


def _plain_first(matrices: Tensor, weights: Tensor, features: Tensor, given: Tensor, edges: EdgeOrder) -> tuple[Tensor]:
    inputs = [v if v.requires_grad else v.detach().requires_grad_() for v in (matrices, weights, features)]
    return torch.autograd.grad(plain_messages(*inputs, edges), inputs, given, create_graph=True)
