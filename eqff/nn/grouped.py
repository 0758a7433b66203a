"""Linear layers of which each group of rows (atoms of one element, pairs of two) has its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from eqff.kernels.capture import operation
from eqff.kernels.choice import own_derivatives, own_rules
from eqff.kernels.rules import needed, plain_gradients
from eqff.nn.species import species_rows


@dataclass(frozen=True)
class Groups:
    """Which rows are alike.

    Attributes:
        index: Group of each row, (M,).
        order: Rows group by group, (M,).
        counts: Rows of each group, (G,).
    """

    index: Tensor
    order: Tensor
    counts: Tensor

    @classmethod
    def of(cls, index: Tensor, num_groups: int) -> Groups:
        """From the group of each row, (M,); no size depends on its values."""
        counts = torch.zeros(num_groups, dtype=torch.int64, device=index.device)
        return cls(index, torch.argsort(index, stable=True), counts.index_add(0, index, torch.ones_like(index)))


def grouped_map(rows: Tensor, matrices: Tensor, groups: Groups) -> Tensor:
    """Each row times the matrix of its group, in as many matrix products as there are groups.

    Args:
        rows: (M, I).
        matrices: (G, I, O).
        groups: Of the rows.

    Returns:
        (M, O).
    """
    if not own_rules():  # traced or transformed, where sizes may not depend on values
        return _plain_map(rows, matrices, groups.index)
    return GroupedMap.apply(rows, matrices, groups.index, groups.order, groups.counts)


class GroupedLinear(nn.Module):
    """y = x W_g + b_g, with g the group of a row.

    Args:
        groups: Sizes of the axes that number groups, for example (elements, elements) for pairs.
        size_in: I.
        size_out: O.
        bias: Whether there is b.
    """

    def __init__(self, groups: Sequence[int], size_in: int, size_out: int, bias: bool = True):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(*groups, size_in, size_out) / math.sqrt(size_in))
        self.bias = nn.Parameter(torch.zeros(*groups, size_out)) if bias else None

    def forward(self, rows: Tensor, groups: Groups) -> Tensor:
        """From (M, I) to (M, O)."""
        product = grouped_map(rows, self.weight.flatten(0, -3), groups)
        return product if self.bias is None else product + species_rows(self.bias.flatten(0, -2), groups.index)


def _chosen(rows: Tensor, index: Tensor, num_groups: int) -> Tensor:
    """One in the row of its group, else zero, (G, M, 1)."""
    return nn.functional.one_hot(index, num_groups).to(rows.dtype).t()[:, :, None]


def _plain_map(rows: Tensor, matrices: Tensor, index: Tensor) -> Tensor:
    """Products with the matrices of all groups, of which one is kept."""
    return (_chosen(rows, index, matrices.shape[0]) * (rows @ matrices)).sum(dim=0)


def _plain_outer(left: Tensor, right: Tensor, index: Tensor, num_groups: int) -> Tensor:
    return (_chosen(left, index, num_groups) * left).transpose(1, 2) @ right


def _parts(rows: Tensor, order: Tensor, counts: Tensor) -> tuple[Tensor, ...]:
    return rows[order].split(counts.tolist())


def _map_like(rows: Tensor, matrices: Tensor, order: Tensor, counts: Tensor) -> Tensor:
    return rows.new_empty(rows.shape[0], matrices.shape[2])


@operation("(Tensor rows, Tensor matrices, Tensor order, Tensor counts) -> Tensor", _map_like)
def each_group_map(rows: Tensor, matrices: Tensor, order: Tensor, counts: Tensor) -> Tensor:
    """See `grouped_map`."""
    products = [part @ matrix for part, matrix in zip(_parts(rows, order, counts), matrices, strict=True)]
    out = _map_like(rows, matrices, order, counts)
    out[order] = torch.cat(products)
    return out


def _outer_like(left: Tensor, right: Tensor, order: Tensor, counts: Tensor) -> Tensor:
    return left.new_empty(counts.shape[0], left.shape[1], right.shape[1])


@operation("(Tensor left, Tensor right, Tensor order, Tensor counts) -> Tensor", _outer_like)
def each_group_outer(left: Tensor, right: Tensor, order: Tensor, counts: Tensor) -> Tensor:
    """See `GroupedOuter`."""
    pairs = zip(_parts(left, order, counts), _parts(right, order, counts), strict=True)
    return torch.stack([first.t() @ second for first, second in pairs])


class GroupedMap(torch.autograd.Function):
    """See `grouped_map`."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, matrices: Tensor, index: Tensor, order: Tensor, counts: Tensor) -> Tensor:
        """The value; inputs are kept for the derivatives."""
        ctx.save_for_backward(rows, matrices, index, order, counts)
        return each_group_map(rows, matrices, order, counts)

    @staticmethod
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:
        """Derivatives of the inner product with ``given`` by rows and matrices."""
        rows, matrices, index, *sorting = ctx.saved_tensors
        if not own_derivatives(given):
            found = plain_gradients(lambda *inputs: [_plain_map(*inputs, index)], (rows, matrices), [given])
            return *found, None, None, None
        first, second = needed(ctx)[:2]
        by_rows = GroupedMap.apply(given, matrices.transpose(1, 2), index, *sorting) if first else None
        by_matrices = GroupedOuter.apply(rows, given, index, *sorting) if second else None
        return by_rows, by_matrices, None, None, None


class GroupedOuter(torch.autograd.Function):
    """From (M, I) and (M, O) the sum of outer products of the rows of each group, (G, I, O)."""

    @staticmethod
    def forward(ctx: Any, left: Tensor, right: Tensor, index: Tensor, order: Tensor, counts: Tensor) -> Tensor:
        """The value; inputs are kept for the derivatives."""
        ctx.save_for_backward(left, right, index, order, counts)
        return each_group_outer(left, right, order, counts)

    @staticmethod
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:
        """Derivatives of the inner product with ``given`` by both factors."""
        left, right, index, *sorting = ctx.saved_tensors
        if not own_derivatives(given):
            num_groups = given.shape[0]
            found = plain_gradients(lambda *both: [_plain_outer(*both, index, num_groups)], (left, right), [given])
            return *found, None, None, None
        first, second = needed(ctx)[:2]
        by_left = GroupedMap.apply(right, given.transpose(1, 2), index, *sorting) if first else None
        return by_left, GroupedMap.apply(left, given, index, *sorting) if second else None, None, None, None
