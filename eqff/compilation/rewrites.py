"""Operations of captured graphs as others that compilers know: what a compiler knows it calls without Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._inductor.decomposition import select_decomp_table

import eqff.kernels.linear  # noqa: F401  defines the operations


def _map(features: Tensor, matrices: Tensor) -> Tensor:
    """A single degree's map is one product; products of several would have to be put together again."""
    if matrices.shape[0] > 1:
        return NotImplemented
    return torch.mm(features[0], matrices[0]).unsqueeze(0)


def _outer(left: Tensor, right: Tensor) -> Tensor:
    """The sums of outer products: what is put together has the size of the weights."""
    degrees = range(round(left.shape[0] ** 0.5))
    parts = [[value[degree**2 : (degree + 1) ** 2].flatten(0, 1) for degree in degrees] for value in (left, right)]
    return torch.stack([torch.mm(first.t(), second) for first, second in zip(*parts, strict=True)])


def rewrites() -> dict[Any, Callable[..., Any]]:
    """How operations are written as others: Inductor's own table, and that of the degrees' linear maps.

    Matrix products stay what they are: Inductor's table makes sums of small ones, by how many rows there are, and code
    would fit batches with as few only.
    """
    aten, operations = torch.ops.aten, torch.ops.eqff
    products = (aten.mm.default, aten.bmm.default, aten.addmm.default, aten.baddbmm.default)
    table = {key: value for key, value in select_decomp_table().items() if key not in products}
    return {**table, operations.each_degree_map.default: _map, operations.each_degree_outer.default: _outer}
