"""Responses to a potential by conjugate gradients: structures that are too large for matrices.

Charge that flows along bonds (S is the softness of the bonds, M the Coulomb interaction) and induced dipoles (S are the
polarizabilities, -M the field of dipoles) solve the same kind of equation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from eqff.errors import ModelError
from eqff.longrange.conjugate_gradient import RUNAWAY, require_finite
from eqff.longrange.convergence import Convergence, Failure, refuse
from eqff.nn.reduce import segment_sum

Map = Callable[[Tensor], Tensor]


def no_remedy_but(advice: str) -> Callable[[int], str]:
    """What to say of any structure that has no minimum."""
    return lambda structure: advice


@dataclass(frozen=True)
class Response:
    """What `TransferIterations` found.

    Attributes:
        flow: x, (N, ...).
        source: y with x = S y, where an iteration like this one can begin, (N, ...).
        residual: b - y - M x, which is small where S is not zero, (N, ...); so b - M x is ``source + residual``.
        convergence: How it went.
    """

    flow: Tensor
    source: Tensor
    residual: Tensor
    convergence: Convergence


@dataclass(frozen=True)
class TransferIterations:
    """Solves (1 + S M) x = S b for each structure.

    That is the least x·(S⁺ + M)·x / 2 - b·x over the range of S, which is what flows along bonds can reach. The
    iteration is preconditioned with S itself, so that S⁺ is never needed and the number of iterations depends on S M
    alone, not on how loosely far atoms are joined.

    Args:
        batch: Structure of each atom, (N,).
        num_structures: B.
        tolerance: Of the residual's norm sqrt(r·S r), relative to that of b.
        max_iterations: No convergence within them is a failure.
        what: Name of the problem, for messages.
        explain: What to add to the message on a structure without a minimum, from its number.
        failed: What is done without convergence.
    """

    batch: Tensor
    num_structures: int
    tolerance: float
    max_iterations: int
    what: str
    explain: Callable[[int], str] = no_remedy_but(RUNAWAY)
    failed: Failure = refuse

    def solve(
        self, right: Tensor, coulomb: Map, response: Map, start: Tensor | None = None, refine: Map | None = None
    ) -> Response:
        """x (N, ...) from b (N, ...), the products with M and S; without derivatives.

        Args:
            right: b.
            coulomb: M x.
            response: S x.
            start: y, for an iteration that begins at x = S y; by default at zero, and also for structures whose
                residual it makes larger than zero does.
            refine: K x with a K that is symmetric and about -M and 1 + √S K √S positive: the iteration is
                preconditioned with S + S K S.

        Raises:
            ModelError: There is no minimum, or (unless ``failed`` says otherwise) the iteration did not converge;
                names structure and numbers.
        """
        require_finite(right, self.batch, self.what)
        whole = self._dot(right, response(right))
        goal = self.tolerance**2 * whole
        x, y, residual = torch.zeros_like(right), torch.zeros_like(right), right
        if start is not None and bool((whole > 0).any()):
            x, y, residual = self._begun(start, right, coulomb, response, whole)
        flow, pushed, squared, slope = self._precondition(residual, response, refine)
        direction, source = flow, pushed  # direction = S source all along
        each = torch.zeros(self.num_structures, dtype=torch.int64, device=right.device)
        for iteration in range(self.max_iterations + 1):
            active = ~(squared <= goal)  # NaN has not converged
            if iteration == self.max_iterations or not bool(active.any()):
                break
            each = each + active
            image = source + coulomb(direction)
            curvature = self._dot(direction, image)
            self._require_positive(curvature, self._dot(direction, source), active)
            step = self._each(torch.where(active, slope / torch.where(active, curvature, 1.0), 0.0), right)
            x, y, residual = x + step * direction, y + step * source, residual - step * image
            flow, pushed, squared, new = self._precondition(residual, response, refine)
            ratio = self._each(torch.where(active, new / torch.where(active, slope, 1.0), 0.0), right)
            direction, source, slope = flow + ratio * direction, pushed + ratio * source, new
        scale = (goal / self.tolerance**2).clamp(min=torch.finfo(right.dtype).tiny)
        told = Convergence(iteration, (squared.clamp(min=0) / scale).sqrt(), each)
        told.require(~active, self.tolerance, self.what, self.failed)
        return Response(x, y, residual, told)

    def _begun(
        self, start: Tensor, right: Tensor, coulomb: Map, response: Map, whole: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """x, y and the residual, where that is smaller than the one of zero, whose squared norm is ``whole``."""
        x = response(start)
        residual = right - start - coulomb(x)
        better = self._each((self._dot(residual, response(residual)) < whole).to(right.dtype), right) > 0
        return torch.where(better, x, 0.0), torch.where(better, start, 0.0), torch.where(better, residual, right)

    def _precondition(
        self, residual: Tensor, response: Map, refine: Map | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """P r = S w and w, the squared norm r·S r, and r·P r."""
        flow = response(residual)
        squared = self._dot(residual, flow)
        if refine is None:
            return flow, residual, squared, squared
        pushed = residual + refine(flow)
        flow = response(pushed)
        return flow, pushed, squared, self._dot(residual, flow)

    def _require_positive(self, curvature: Tensor, squared: Tensor, active: Tensor) -> None:
        bad = active & ~(curvature > 0)
        if bool(bad.any()):
            worst = int(bad.nonzero()[0])
            raise ModelError(
                f"{self.what} of structure {worst} of the batch has no minimum: an eigenvalue of 1 + √S M √S of at "
                f"most {float(curvature[worst] / squared[worst]):.4g} was met. {self.explain(worst)}"
            )

    def _dot(self, first: Tensor, second: Tensor) -> Tensor:
        products = segment_sum(first * second, self.batch, self.num_structures)
        return products.reshape(self.num_structures, -1).sum(dim=1)

    def _each(self, values: Tensor, like: Tensor) -> Tensor:
        """The value of its structure for each atom, shaped to multiply ``like`` (N, ...)."""
        return values[self.batch].reshape((-1,) + (1,) * (like.dim() - 1))
