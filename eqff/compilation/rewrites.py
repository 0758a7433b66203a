"""Operations of captured graphs as others that compilers know: what a compiler knows it calls without Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._inductor.decomposition import select_decomp_table

import eqff.kernels.linear  # noqa: F401  defines the operations
from eqff.compilation.single_rows import with_single_rows
from eqff.kernels.choice import DTYPES
from eqff.kernels.generated.code import VECTOR
from eqff.kernels.native.process import functions


def _rows(features: Tensor) -> list[Tensor]:
    """Components of each degree of (components, N, C) as rows, ((2 degree + 1) N, C)."""
    degrees = range(round(features.shape[0] ** 0.5))
    return [features[degree**2 : (degree + 1) ** 2].flatten(0, 1) for degree in degrees]


def _map(features: Tensor, matrices: Tensor) -> Tensor:
    """Products of each degree, put together again: copying them costs less than the Python that would place them."""
    each = [torch.mm(rows, matrix) for rows, matrix in zip(_rows(features), matrices.unbind(), strict=True)]
    return (torch.cat(each) if len(each) > 1 else each[0]).view(*features.shape[:2], -1)


def _outer(left: Tensor, right: Tensor) -> Tensor:
    """The sums of outer products: what is put together has the size of the weights."""
    return torch.stack([torch.mm(first.t(), second) for first, second in zip(_rows(left), _rows(right), strict=True)])


class _Products:
    """Products of rows of atoms or edges with a matrix, and sums of outer products, as maps of one degree.

    Args:
        dtype: The precision that maps have in this graph, for which compiled code calls the C function; others stay.
    """

    def __init__(self, dtype: torch.dtype):
        self.dtype = dtype

    def product(self, left: Tensor, right: Tensor) -> Tensor:
        """``aten.mm``."""
        (rows, inner), columns = left.shape, right.shape[1]
        if left.dtype != self.dtype or not isinstance(columns, int):
            return NotImplemented
        if isinstance(rows, torch.SymInt):
            fits = isinstance(inner, int) and left.stride() == (inner, 1) and self._fill_vectors(columns)
            return torch.ops.eqff.each_degree_map(left[None], right[None])[0] if fits else NotImplemented
        fits = left.stride() == (1, rows) and right.stride() == (columns, 1)
        if not fits or not isinstance(inner, torch.SymInt) or not self._fill_vectors(max(rows, columns)):
            return NotImplemented
        if columns < rows:  # rows of the result are made of vectors
            return torch.ops.eqff.each_degree_outer(right[None], left.t()[None])[0].t()
        return torch.ops.eqff.each_degree_outer(left.t()[None], right[None])[0]

    def _fill_vectors(self, columns: int) -> bool:
        return columns * self.dtype.itemsize >= VECTOR

    def with_bias(self, bias: Tensor, left: Tensor, right: Tensor, beta: float = 1, alpha: float = 1) -> Tensor:
        """``aten.addmm``."""
        found = self.product(left, right) if beta == alpha == 1 else NotImplemented
        return found if found is NotImplemented else found + bias


def rewrites(like: Tensor) -> dict[Any, Callable[..., Any]]:
    """How operations are written as others: Inductor's own table, and that of matrix products.

    Where compiled code calls C functions for linear maps of each degree, these stay what they are, and products of
    many rows with a small matrix become such, as they are faster. Other matrix products stay what they are: Inductor's
    table makes sums of small ones, by how many rows there are, and code would fit batches with as few only.

    Args:
        like: A tensor of the graph's precision on its device.
    """
    aten, operations = torch.ops.aten, torch.ops.eqff
    products = (aten.mm.default, aten.bmm.default, aten.addmm.default, aten.baddbmm.default)
    table = {key: value for key, value in select_decomp_table().items() if key not in products}
    table = with_single_rows(table)
    if like.device.type == "cpu" and like.dtype in DTYPES and functions(like.dtype) is not None:
        maps = _Products(like.dtype)
        return {**table, aten.mm.default: maps.product, aten.addmm.default: maps.with_bias}
    return {**table, operations.each_degree_map.default: _map, operations.each_degree_outer.default: _outer}
