"""Square roots of symmetric or Hermitian positive matrices, with derivatives of any order, also at equal eigenvalues.

Derivatives of eigenvalues and eigenvectors have 1/(λ_i - λ_j) in them and are not finite where symmetry makes two of
them equal. Those of the root S of C = S² never divide by a difference: dS solves Sylvester's equation
S dS + dS S = dC, in S's eigenvectors dS_ij = dC_ij / (s_i + s_j). In other words they are divided differences of the
square root, (s_i - s_j) / (λ_i - λ_j), written so that nothing cancels. The solution of that equation is differentiated
by the same equation again, and so on.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def matrix_sqrt(matrix: Tensor, values: Tensor, vectors: Tensor) -> Tensor:
    """The positive square root.

    Args:
        matrix: C, (..., n, n), positive definite.
        values: Its eigenvalues, (..., n), as numbers only.
        vectors: Its eigenvectors in columns, (..., n, n), as numbers only.

    Returns:
        S, (..., n, n); differentiable by C to any order.
    """
    return _Root.apply(matrix, values.detach().sqrt(), vectors.detach())


class _Root(torch.autograd.Function):
    """S of C, given the eigensystem (s, V) of S."""

    generate_vmap_rule = False

    @staticmethod
    def forward(matrix: Tensor, roots: Tensor, vectors: Tensor) -> Tensor:
        return (vectors * roots.unsqueeze(-2)) @ vectors.mH

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(output, *inputs[1:])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        root, roots, vectors = ctx.saved_tensors
        return _Sylvester.apply(root, gradient, roots, vectors), None, None


class _Sylvester(torch.autograd.Function):
    """X with S X + X S = B, given the eigensystem (s, V) of S. The equation is its own adjoint."""

    generate_vmap_rule = False

    @staticmethod
    def forward(root: Tensor, right: Tensor, roots: Tensor, vectors: Tensor) -> Tensor:
        inner = vectors.mH @ right @ vectors
        return vectors @ (inner / (roots.unsqueeze(-1) + roots.unsqueeze(-2))) @ vectors.mH

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        root, _, roots, vectors = inputs
        ctx.save_for_backward(root, output, roots, vectors)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        root, solution, roots, vectors = ctx.saved_tensors
        adjoint = _Sylvester.apply(root, gradient, roots, vectors)
        # dX = -solve(dS X + X dS)
        return -(adjoint @ solution.mH + solution.mH @ adjoint), adjoint, None, None
