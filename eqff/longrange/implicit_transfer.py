"""Responses to a potential by conjugate gradients, with derivatives of the solution and not of its iterations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from eqff.data.solves import COLD, ColdStarts
from eqff.longrange.conjugate_gradient import Product
from eqff.longrange.convergence import Convergence
from eqff.longrange.transfer_iterations import Map, TransferIterations


class _ImplicitTransfer(torch.autograd.Function):
    """x = G b with G = (1 + S M)^-1 S, which is symmetric, and derivatives by the implicit function theorem.

    From (1 + S M) dx = dS (b - M x) + S (db - dM x) and (1 + S M)^-1 = 1 - G M follows, for a gradient g and y = G g,
    g·dx = y·db - y·dM x + (g - M y)·dS (b - M x). The backward pass is written with this function itself, so it can be
    differentiated again.
    """

    generate_vmap_rule = False

    @staticmethod
    def forward(
        right: Tensor,
        solve: Callable[..., Tensor],
        coulomb: Product,
        response: Product,
        softness: Tensor,
        *rest: Tensor,
    ) -> Tensor:
        with torch.no_grad():
            return solve(right, softness, *rest)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        right, ctx.solve, ctx.coulomb, ctx.response, *tensors = inputs
        ctx.save_for_backward(right, output, *tensors)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        right, x, softness, *tensors = ctx.saved_tensors
        y = _ImplicitTransfer.apply(gradient, ctx.solve, ctx.coulomb, ctx.response, softness, *tensors)
        # torch.func holds x fixed here, though x itself depends on the tensors
        product, by_coulomb = torch.func.vjp(lambda *values: ctx.coulomb(x, *values), *tensors)
        shifts = right - product
        _, by_response = torch.func.vjp(lambda values: ctx.response(shifts, values), softness)
        return y, None, None, None, *by_response(gradient - ctx.coulomb(y, *tensors)), *by_coulomb(-y)


def transfer_iteratively(
    right: Tensor,
    coulomb: Product,
    response: Product,
    softness: Tensor,
    tensors: tuple[Tensor, ...],
    solver: TransferIterations,
    prepare: Callable[..., Map],
    start: Tensor | None = None,
    solves: ColdStarts = COLD,
) -> tuple[Tensor, list[Convergence]]:
    """x with (1 + S M) x = S b.

    Args:
        right: b, (N,).
        coulomb: M x as a function of x and of ``tensors``.
        response: S x as a function of x and of ``softness``.
        softness: All that S depends on.
        tensors: All that M depends on.
        solver: The iteration.
        prepare: From the tensors to the product with M as it is applied in the iteration, without derivatives. Called
            once: derivatives are solved for with the same M.
        start: y, for a first iteration that begins at x = S y, (N,).
        solves: Where iterations begin otherwise, those of derivatives too.

    Returns:
        x (N,), and how each solve went: the one now, and those of derivatives as they are taken.
    """
    convergence: list[Convergence] = []
    prepared: list[Map] = []

    def solve(right: Tensor, softness: Tensor, *values: Tensor) -> Tensor:
        if not prepared:
            prepared.append(prepare(*values))
        this = solves.next(solver.what)
        first = this.start_for(right) if convergence or start is None else start
        found = solver.solve(right, prepared[0], lambda x: response(x, softness), first)
        # not the source itself: nothing corrects the part of it to which S gives nothing, and predictions make it grow
        this.end(found.source + found.residual)
        convergence.append(found.convergence)
        return found.flow

    return _ImplicitTransfer.apply(right, solve, coulomb, response, softness, *tensors), convergence
