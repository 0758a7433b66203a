"""One matrix for each degree: a matrix product a degree, and derivatives that are such products again."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from eqff.kernels.capture import operation
from eqff.kernels.choice import own_derivatives
from eqff.kernels.rules import needed, plain_gradients


def _rows(features: Tensor) -> tuple[Tensor, ...]:
    """Components of each degree of (components, N, C) as rows, ((2 degree + 1) N, C)."""
    components, atoms, channels = features.shape
    counts = [(2 * degree + 1) * atoms for degree in range(round(components**0.5))]
    return features.view(-1, channels).split(counts)


def degree_map(features: Tensor, matrices: Tensor) -> Tensor:
    """From (components, N, C) and matrices (L + 1, C, C') to (components, N, C')."""
    if features.shape[0] != len(matrices) ** 2:
        raise ValueError(f"{len(matrices)} degrees have {len(matrices) ** 2} components, not {features.shape[0]}.")
    return DegreeMap.apply(features.contiguous(), matrices)


def _plain_map(features: Tensor, matrices: Tensor) -> Tensor:
    counts = 2 * torch.arange(len(matrices), device=matrices.device) + 1
    # told how many there will be, a GPU need not be waited for
    return torch.bmm(features, matrices.repeat_interleave(counts, dim=0, output_size=len(features)))


def _plain_outer(left: Tensor, right: Tensor) -> Tensor:
    each = left.transpose(1, 2) @ right
    degrees = range(round(len(left) ** 0.5))
    return torch.stack([each[degree**2 : (degree + 1) ** 2].sum(0) for degree in degrees])


def _map_like(features: Tensor, matrices: Tensor) -> Tensor:
    return features.new_empty(*features.shape[:2], matrices.shape[2])


@operation("(Tensor features, Tensor matrices) -> Tensor", _map_like)
def each_degree_map(features: Tensor, matrices: Tensor) -> Tensor:
    """See `degree_map`."""
    out = _map_like(features, matrices)
    for rows, matrix, result in zip(_rows(features), matrices.unbind(), _rows(out), strict=True):
        torch.mm(rows, matrix, out=result)
    return out


def _outer_like(left: Tensor, right: Tensor) -> Tensor:
    return left.new_empty(round(left.shape[0] ** 0.5), left.shape[2], right.shape[2])


@operation("(Tensor left, Tensor right) -> Tensor", _outer_like)
def each_degree_outer(left: Tensor, right: Tensor) -> Tensor:
    """See `DegreeOuter`."""
    out = _outer_like(left, right)
    for first, second, result in zip(_rows(left), _rows(right), out.unbind(), strict=True):
        torch.mm(first.t(), second, out=result)
    return out


class DegreeMap(torch.autograd.Function):
    """See `degree_map`; features are contiguous."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, matrices: Tensor) -> Tensor:
        """The value; inputs are kept for the derivatives."""
        ctx.save_for_backward(features, matrices)
        return each_degree_map(features, matrices)

    @staticmethod
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:
        """Derivatives of the inner product with ``given`` (or ``along``) by the inputs."""
        features, matrices = ctx.saved_tensors
        if not own_derivatives(given):
            return tuple(plain_gradients(lambda *inputs: [_plain_map(*inputs)], (features, matrices), [given]))
        given = given.contiguous()
        first, second = needed(ctx)
        by_features = DegreeMap.apply(given, matrices.transpose(1, 2)) if first else None
        return by_features, DegreeOuter.apply(features, given) if second else None


class DegreeOuter(torch.autograd.Function):
    """From (components, N, C) and (components, N, C') the sum of outer products in each degree, (L + 1, C, C')."""

    @staticmethod
    def forward(ctx: Any, left: Tensor, right: Tensor) -> Tensor:
        """The value; inputs are kept for the derivatives."""
        ctx.save_for_backward(left, right)
        return each_degree_outer(left, right)

    @staticmethod
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:
        """Derivatives of the inner product with ``given`` (or ``along``) by the inputs."""
        left, right = ctx.saved_tensors
        if not own_derivatives(given):
            return tuple(plain_gradients(lambda *inputs: [_plain_outer(*inputs)], (left, right), [given]))
        first, second = needed(ctx)
        by_left = DegreeMap.apply(right, given.transpose(1, 2)) if first else None
        return by_left, DegreeMap.apply(left, given) if second else None
