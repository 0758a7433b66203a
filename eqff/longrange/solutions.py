"""Solutions with matrices that are factorised once; their derivatives are solutions with the same factors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Solver = Callable[..., Tensor]
"""From right-hand sides (B, n), whether the transposed matrices are meant, and factors, to solutions (B, n)."""


def solutions(matrix: Tensor, right: Tensor, solve: Solver, *factors: Tensor) -> Tensor:
    """x with M x = b for each of many matrices, differentiable to any order.

    From dx = G (db - dM x), with G = M^-1, follows g·dx = y·db - y·dM x with y = Gᵀ g: one more solution. So it may
    also be that G inverts M on a subspace only, if it gives nothing but vectors of it.

    Args:
        matrix: M, (B, n, n), for its derivatives alone.
        right: b, (B, n).
        solve: Applies G.
        *factors: That it needs; without derivatives.
    """
    return _Solutions.apply(matrix, right, solve, False, *factors)


class _Solutions(torch.autograd.Function):
    """See `solutions`; the backward pass is written with this function itself, so it can be differentiated again."""

    generate_vmap_rule = True

    @staticmethod
    def forward(matrix: Tensor, right: Tensor, solve: Solver, turned: bool, *factors: Tensor) -> Tensor:
        return solve(right, turned, *factors)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        matrix, _, ctx.solve, ctx.turned, *factors = inputs
        ctx.save_for_backward(matrix, output, *factors)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        matrix, x, *factors = ctx.saved_tensors
        y = _Solutions.apply(matrix, gradient, ctx.solve, not ctx.turned, *factors)
        left, right = (x, y) if ctx.turned else (y, x)
        by_matrix = -left[:, :, None] * right[:, None, :] if ctx.needs_input_grad[0] else None
        return by_matrix, y, None, None, *(None for _ in factors)
