"""Constrained minima by conjugate gradients, many structures at once, with matrices that are only ever applied."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from eqff.data.solves import COLD, ColdStarts
from eqff.errors import ModelError
from eqff.longrange.convergence import Convergence, Failure, refuse
from eqff.nn.reduce import segment_sum

RUNAWAY = "Charges would grow without bound; raise the hardness or the widths, or look for atoms that are too close."

Product = Callable[..., Tensor]
"""From x (N,) and tensors that the matrix depends on to M x (N,); M is symmetric and joins no two structures."""


@dataclass(frozen=True)
class ConjugateGradient:
    """Solves P M P x = P b, sum x = 0, for each structure, where P takes out the mean.

    Args:
        batch: Structure of each atom, (N,).
        num_structures: B.
        preconditioner: Positive, about the inverse of M's diagonal, (N,).
        tolerance: Of the residual's norm, relative to that of the right-hand side.
        max_iterations: No convergence within them is a failure.
        what: Name of M, for messages.
        failed: What is done then.
    """

    batch: Tensor
    num_structures: int
    preconditioner: Tensor
    tolerance: float = 1e-10
    max_iterations: int = 500
    what: str = "The matrix"
    failed: Failure = refuse

    def solve(
        self, right: Tensor, product: Callable[[Tensor], Tensor], start: Tensor | None = None
    ) -> tuple[Tensor, Convergence]:
        """x (N,) from b (N,), without derivatives.

        Args:
            right: b.
            product: M x.
            start: x with which the iteration begins, (N,); what it adds up to is taken out. By default zero, and also
                for structures whose residual it makes larger than zero does.

        Raises:
            ModelError: M is not positive definite, or (unless ``failed`` says otherwise) the iteration did not
                converge; names structure and numbers.
        """
        require_finite(right, self.batch, self.what)
        x, residual = torch.zeros_like(right), self._centred(right)
        # relative to the whole right-hand side: of a constant one, which is stationary, only rounding is left
        goal = self.tolerance * self._norm(right)
        if start is not None and bool((self._norm(residual) > goal).any()):
            x, residual = self._begun(self._centred(start), residual, product)
        conjugate = self._precondition(residual)
        direction, slope = conjugate, self._dot(residual, conjugate)
        each = torch.zeros(self.num_structures, dtype=torch.int64, device=right.device)
        for iteration in range(self.max_iterations + 1):
            left = self._norm(residual)
            active = ~(left <= goal)  # NaN has not converged
            if iteration == self.max_iterations or not bool(active.any()):
                break
            each = each + active
            image = self._centred(product(direction))
            curvature = self._dot(direction, image)
            self._require_positive(curvature, self._dot(direction, direction), active)
            step = torch.where(active, slope / torch.where(active, curvature, 1.0), 0.0)[self.batch]
            x, residual = x + step * direction, residual - step * image
            conjugate = self._precondition(residual)
            new_slope = self._dot(residual, conjugate)
            ratio = torch.where(active, new_slope / torch.where(active, slope, 1.0), 0.0)[self.batch]
            direction, slope = conjugate + ratio * direction, new_slope
        told = Convergence(iteration, left / (goal / self.tolerance).clamp(min=torch.finfo(right.dtype).tiny), each)
        told.require(~active, self.tolerance, self.what, self.failed)
        return x, told

    def _begun(self, x: Tensor, right: Tensor, product: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """x and its residual, where that is smaller than the one of zero."""
        residual = right - self._centred(product(x))
        better = (self._norm(residual) < self._norm(right))[self.batch]
        return torch.where(better, x, 0.0), torch.where(better, residual, right)

    def _require_positive(self, curvature: Tensor, squared: Tensor, active: Tensor) -> None:
        bad = active & ~(curvature > 0)
        if bool(bad.any()):
            worst = int(bad.nonzero()[0])
            raise ModelError(
                f"{self.what} of structure {worst} of the batch is not positive definite: an eigenvalue of at most "
                f"{float(curvature[worst] / squared[worst]):.4g} eV/e² was met. {RUNAWAY}"
            )

    def _precondition(self, values: Tensor) -> Tensor:
        """The symmetric preconditioner on vectors whose sum is zero: scaled, and projected along it."""
        scaled = self.preconditioner * values
        total = segment_sum(scaled, self.batch, self.num_structures)
        share = segment_sum(self.preconditioner, self.batch, self.num_structures)
        return scaled - self.preconditioner * (total / share)[self.batch]

    def _centred(self, values: Tensor) -> Tensor:
        counts = torch.bincount(self.batch, minlength=self.num_structures).clamp(min=1)
        return values - (segment_sum(values, self.batch, self.num_structures) / counts)[self.batch]

    def _dot(self, first: Tensor, second: Tensor) -> Tensor:
        return segment_sum(first * second, self.batch, self.num_structures)

    def _norm(self, values: Tensor) -> Tensor:
        return self._dot(values, values).sqrt()


def require_finite(values: Tensor, batch: Tensor, what: str) -> None:
    """Raises ModelError naming the structure where ``values`` (N, ...), right-hand sides of ``what``, aren't finite."""
    broken = ~values.isfinite()
    if bool(broken.any()):
        atom = int(broken.nonzero()[0, 0])
        raise ModelError(
            f"{what} of structure {int(batch[atom])} of the batch can't be solved: its right-hand side is "
            f"{float(values[broken][0])} at atom {atom} of the batch. What predicts it, or the geometry, is not finite."
        )


class _ImplicitSolve(torch.autograd.Function):
    """x = S b with derivatives by the implicit function theorem: dx = S (db - dM x), whatever way x was found.

    The backward pass is one more solve, written with this function itself, so it can be differentiated again; memory
    does not depend on the number of iterations.
    """

    generate_vmap_rule = False

    @staticmethod
    def forward(right: Tensor, solve: Callable[..., Tensor], product: Product, *tensors: Tensor) -> Tensor:
        with torch.no_grad():
            return solve(right, *tensors)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, ctx.solve, ctx.product, *tensors = inputs
        ctx.save_for_backward(output, *tensors)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, *tensors = ctx.saved_tensors
        adjoint = _ImplicitSolve.apply(gradient, ctx.solve, ctx.product, *tensors)
        # torch.func holds x fixed here, though x itself depends on the tensors
        _, pull_back = torch.func.vjp(lambda *values: ctx.product(x, *values), *tensors)
        return adjoint, None, None, *pull_back(-adjoint)


def solve_implicitly(
    right: Tensor,
    product: Product,
    tensors: tuple[Tensor, ...],
    solver: ConjugateGradient,
    prepare: Callable[..., Callable[[Tensor], Tensor]],
    start: Tensor | None = None,
    solves: ColdStarts = COLD,
) -> tuple[Tensor, list[Convergence]]:
    """x with P M P x = P b and sum x = 0 for each structure, differentiable to any order.

    Args:
        right: b, (N,).
        product: M x as a function of x and of ``tensors``.
        tensors: All that M depends on and that may need a derivative.
        solver: The iteration.
        prepare: From the tensors to the product with M as it is applied in the iteration, without derivatives. Called
            once: derivatives are solved for with the same M.
        start: x with which the iteration begins; iterations of derivatives, which have other right-hand sides, don't.
        solves: Where iterations begin otherwise, those of derivatives too.

    Returns:
        x (N,), and how each solve went: the one now, and those of derivatives as they are taken.
    """
    convergence: list[Convergence] = []
    prepared: list[Callable[[Tensor], Tensor]] = []

    def solve(right: Tensor, *values: Tensor) -> Tensor:
        if not prepared:
            prepared.append(prepare(*values))
        this = solves.next(solver.what)
        first = this.start_for(right) if convergence or start is None else start
        x, told = solver.solve(right, prepared[0], first)
        this.end(x)
        convergence.append(told)
        return x

    return _ImplicitSolve.apply(right, solve, product, *tensors), convergence
