"""Sparse bilinear maps of rows, as from path weights and harmonics to the matrix of an edge; derivatives included."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from eqff.kernels.call import Couplings, require
from eqff.kernels.capture import Constant, operation
from eqff.kernels.choice import implementation, own_derivatives
from eqff.kernels.rules import needed, plain_gradients


class RowCouplings(Constant):
    """t_kij in the three orders that the map and its derivatives need, as tables of each precision when first used.

    Args:
        dense: t, (K, I, J).
    """

    def __init__(self, dense: Tensor):
        super().__init__(dense)
        self.dense = dense
        self._tables: dict[tuple[tuple[int, int, int], torch.dtype], Couplings] = {}

    def table(self, axes: tuple[int, int, int], dtype: torch.dtype) -> Couplings:
        """With axes permuted."""
        if (axes, dtype) not in self._tables:
            self._tables[axes, dtype] = Couplings(self.dense.permute(axes), dtype)
        return self._tables[axes, dtype]

    def plain(self, x: Tensor, y: Tensor, axes: tuple[int, int, int]) -> Tensor:
        """The same as `RowBilinear` in plain PyTorch."""
        return torch.einsum("kij,ei,ej->ek", self.dense.permute(axes).to(x), x, y)


def _rows_like(couplings: RowCouplings, x: Tensor, y: Tensor, axes: Sequence[int]) -> Tensor:
    return x.new_empty(x.shape[0], couplings.dense.shape[axes[0]])


@operation("(str constant, Tensor x, Tensor y, int[] axes) -> Tensor", _rows_like)
def rows_bilinear(couplings: RowCouplings, x: Tensor, y: Tensor, axes: Sequence[int]) -> Tensor:
    """See `RowBilinear`; numbers of a row are neighbours in memory."""
    out = _rows_like(couplings, x, y, axes)
    implementation(x, "bilinear").run(couplings, x, y, tuple(axes), out)
    return out


class RowBilinear(torch.autograd.Function):
    """z_k = Σ_ij t_kij x_i y_j for rows of x (E, I) and y (E, J); (E, K).

    ``axes`` says which axes of t belong to z, x and y.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, couplings: RowCouplings, axes: tuple[int, int, int]) -> Tensor:
        """The value; inputs are kept for the derivatives."""
        ctx.save_for_backward(x, y)
        ctx.couplings, ctx.axes = couplings, axes
        _, i, j = (couplings.dense.shape[axis] for axis in axes)
        require(x.dtype == y.dtype and x.shape[1] == i and y.shape[1] == j and x.shape[0] == y.shape[0], x, y)
        x, y = (value if value.stride(1) == 1 else value.contiguous() for value in (x, y))
        return rows_bilinear(couplings, x, y, axes)

    @staticmethod
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        """Derivatives of the inner product with ``given`` (or ``along``) by the inputs."""
        (x, y), (k, i, j), couplings = ctx.saved_tensors, ctx.axes, ctx.couplings
        if not own_derivatives(given):
            return *plain_gradients(lambda *inputs: [couplings.plain(*inputs, ctx.axes)], (x, y), [given]), None, None
        first, second = needed(ctx)
        by_x = RowBilinear.apply(given, y, couplings, (i, k, j)) if first else None
        by_y = RowBilinear.apply(given, x, couplings, (j, k, i)) if second else None
        return by_x, by_y, None, None
