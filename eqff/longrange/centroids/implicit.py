"""The response of Wannier centroids around one place: linear systems for Newton's steps and for derivatives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from eqff.longrange.induction.implicit import LocalField, partial_derivatives
from eqff.longrange.induction.polarizabilities import respond
from eqff.longrange.transfer_iterations import TransferIterations

if TYPE_CHECKING:
    from eqff.longrange.centroids.self_consistent import SelfConsistentCentroids

WHAT = "The response of the Wannier centroids"

_INNER = 1e-3  # relative residual of a Newton step: about what is left after it, the problem being nearly linear
_MAX_INNER = 200
_REMEDY = "Centroids would pull each other away without end. Lower the polarizabilities, or raise the width."


@dataclass(frozen=True)
class Linearised:
    """e' = E' + T S e' with S = alpha / k_e and T the change of effective fields, around one place.

    Attributes:
        problem: Of which this is the tangent.
        alpha: Å³, (N, 3, 3), without derivatives.
        effective: E at the place, V/Å, (N, 3).
        change: T mu there, without derivatives.
    """

    problem: SelfConsistentCentroids
    alpha: Tensor
    effective: Tensor
    change: Callable[[Tensor], Tensor]

    def step(self, residual: Tensor) -> Tensor:
        """By how much e is off, to a part of it."""
        return self._solve(residual, _INNER)

    def solve(self, external: Tensor) -> Tensor:
        """e' of E' (N, 3), as exactly as the whole problem is solved."""
        return self._solve(external, self.problem.solver.tolerance)

    def field(self, dipoles: Tensor, *place: Tensor) -> Tensor:
        """T mu at displacements, positions and cell; differentiable."""
        return self.problem.fields.change(dipoles, *place)

    def _solve(self, external: Tensor, tolerance: float) -> Tensor:
        graph = self.problem.graph
        solver = TransferIterations(
            graph.batch,
            graph.num_structures,
            tolerance,
            _MAX_INNER,
            WHAT,
            lambda structure: _REMEDY,
            self.problem.solver.failed,
        )
        found = solver.solve(external, lambda mu: -self.change(mu), lambda e: respond(self.alpha, e))
        return found.source + found.residual


class EffectiveField(torch.autograd.Function):
    """e with e = E(d0 + S e / q; x), and its derivatives by the implicit function theorem, S = alpha / k_e.

    From de = (1 - T S)^-1 dE, with dE the change of E at this e, follows g·de = y·dE for y = (1 - S T)^-1 g, which is
    g + S e' with e' = T g + T S e': the equation of `LocalField`, whose derivatives are known to any order. So the
    backward pass can be differentiated again.
    """

    generate_vmap_rule = False

    @staticmethod
    def forward(problem: SelfConsistentCentroids, *tensors: Tensor) -> Tensor:  # noqa: D102
        with torch.no_grad():
            return problem.solve(*tensors)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: D102
        ctx.problem, *tensors = inputs
        ctx.save_for_backward(output, *tensors)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None) -> tuple[Tensor | None, ...]:  # noqa: D102
        local, *tensors = ctx.saved_tensors
        if gradient is None:  # first derivatives of a stationary energy
            return None, *(None for _ in tensors)
        problem, (alpha, start, positions, cell, outside) = ctx.problem, tensors
        place = (problem.displacements(local, alpha, start), positions, cell)
        tangent = problem.linearised(alpha, *place, outside)
        y = gradient + respond(alpha, LocalField.apply(tangent, tangent.field(gradient, *place), alpha, *place))

        def effective(alpha: Tensor, start: Tensor, *geometry: Tensor) -> Tensor:
            return problem.fields.at(problem.displacements(local, alpha, start), *geometry)

        return None, *partial_derivatives(effective, tensors, y)
