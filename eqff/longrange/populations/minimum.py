"""Populations of least energy, as differentiable functions of all that the energy depends on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from eqff.longrange.convergence import Convergence, Failure
from eqff.longrange.populations.energy import PopulationEnergy
from eqff.longrange.populations.newton import Newton
from eqff.longrange.populations.steps import DenseSteps, Inverse, IterativeSteps, Steps
from eqff.longrange.populations.totals import Totals

ORDER = 2
"""Up to which derivatives of populations are those of the minimum. Those of its energy are to 2 ORDER + 1."""


@dataclass(frozen=True)
class Minimum:
    """The result.

    Attributes:
        populations: (N, C), float64.
        energy: eV, (B,).
        convergence: Of Newton's steps; residuals in V.
    """

    populations: Tensor
    energy: Tensor
    convergence: Convergence


def minimize_populations(
    energy: PopulationEnergy,
    totals: Totals,
    newton: Newton,
    *,
    iterative: bool,
    tolerance: float,
    max_iterations: int,
    failed: Failure,
) -> Minimum:
    """The populations with least energy under their totals, differentiable to second order.

    Derivatives are those of the minimum and not of the steps to it. If the energy has several minima, one of them: that
    to which steps lead from evenly shared totals.

    Args:
        energy: Of the batch.
        totals: Which the populations add up to; may need a derivative.
        newton: How the minimum is looked for.
        iterative: Steps by conjugate gradients instead of factorisations; always where a structure is summed on a mesh.
        tolerance: Relative residual of conjugate gradients.
        max_iterations: Of these.
        failed: What is done if they don't converge.

    Raises:
        ModelError: No convergence, or a stationary point that is no minimum.
    """
    with torch.no_grad():
        steps: Steps
        if iterative or not energy.coulomb.has_matrix:
            steps = IterativeSteps(energy, totals, tolerance, max_iterations, failed)
        else:
            steps = DenseSteps(energy, totals)
        x, told = newton.minimize(energy, totals, steps)
        inverse = steps.inverse(x)
    if torch.is_grad_enabled():
        x = _attached(x, energy, totals, inverse)
    x = x + totals.missing(x).detach()  # what rounding has lost
    return Minimum(x, energy.value(x), told)


def _attached(x: Tensor, energy: PopulationEnergy, totals: Totals, inverse: Inverse) -> Tensor:
    """x with its derivatives up to `ORDER`, by as many steps x - S dE/dx with the inverse S of the second derivatives.

    Near the minimum each of them multiplies the error by the distance from it, even with S held fixed. So if all that
    the energy depends on changes by d, n steps miss the new minimum by something of the order d^(n + 1). At the minimum
    itself the steps are zero, and are not computed.
    """
    x = x + totals.shared(totals.values - totals.values.detach())
    for _ in range(ORDER):
        x = x + _Vanishing.apply(-totals.centred(energy.slope(x)), inverse)
    return x


class _Vanishing(torch.autograd.Function):
    """S b where b is zero but its derivatives are not."""

    generate_vmap_rule = False

    @staticmethod
    def forward(right: Tensor, inverse: Inverse) -> Tensor:
        return torch.zeros_like(right)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, ctx.inverse = inputs

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _Inverted.apply(gradient, ctx.inverse), None


class _Inverted(torch.autograd.Function):
    """S b for a symmetric S without derivatives of its own."""

    generate_vmap_rule = False

    @staticmethod
    def forward(right: Tensor, inverse: Inverse) -> Tensor:
        with torch.no_grad():
            return inverse(right)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, ctx.inverse = inputs

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _Inverted.apply(gradient, ctx.inverse), None
