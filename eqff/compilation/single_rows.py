"""Sums into tensors of one row, as what belongs to the only structure of a batch, written as plain sums.

Inductor writes them as additions to one place by all threads, which are slow, and fails at them on more than one
thread (torch 2.13: an assertion without a message).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

Table = dict[Any, Callable[..., Any]]


def with_single_rows(table: Mapping[Any, Callable[..., Any]]) -> Table:
    """A table of how operations are written as others, with such sums besides."""
    add, put = torch.ops.aten.index_add.default, torch.ops.aten.index_put.default

    def index_add(into: Tensor, dim: int, index: Tensor, rows: Tensor, *, alpha: float = 1) -> Any:
        if dim == 0 and alpha == 1 and _is_one_row(into):
            return into + rows.sum(dim=0, keepdim=True)
        return table[add](into, dim, index, rows, alpha=alpha) if add in table else NotImplemented

    def index_put(into: Tensor, indices: Sequence[Tensor | None], rows: Tensor, accumulate: bool = False) -> Any:
        if accumulate and len(indices) == 1 and _is_one_row(into) and _is_row_each(indices[0], rows, into):
            return into + rows.sum(dim=0, keepdim=True)
        return table[put](into, indices, rows, accumulate) if put in table else NotImplemented

    return {**table, add: index_add, put: index_put}


def _is_one_row(tensor: Tensor) -> bool:
    return tensor.dim() > 0 and isinstance(tensor.shape[0], int) and tensor.shape[0] == 1


def _is_row_each(index: Tensor | None, rows: Tensor, into: Tensor) -> bool:
    if index is None or index.dtype != torch.int64 or index.dim() != 1 or rows.dim() != into.dim():
        return False
    return rows.shape[0] == index.shape[0] and rows.shape[1:] == into.shape[1:]
