"""Operations of captured graphs as others that compilers know: what a compiler knows it calls without Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._inductor.decomposition import select_decomp_table

import eqff.kernels.linear  # noqa: F401  defines the operations


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


def rewrites() -> dict[Any, Callable[..., Any]]:
    """How operations are written as others: Inductor's own table, and that of the degrees' linear maps.

    Matrix products stay what they are: Inductor's table makes sums of small ones, by how many rows there are, and code
    would fit batches with as few only.
    """
    aten, operations = torch.ops.aten, torch.ops.eqff
    products = (aten.mm.default, aten.bmm.default, aten.addmm.default, aten.baddbmm.default)
    table = {key: value for key, value in select_decomp_table().items() if key not in products}
    return {**table, operations.each_degree_map.default: _map, operations.each_degree_outer.default: _outer}
