"""Derivatives of local fields and of the induction energy that follow from the solution, not from how it was found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from eqff.longrange.induction.polarizabilities import respond

if TYPE_CHECKING:
    from eqff.longrange.induction.mutual import MutualInduction


class LocalField(torch.autograd.Function):
    """e with e = E + T S e, where S = alpha / k_e, and its derivatives by the implicit function theorem.

    From de = (1 - T S)^-1 (dE + d(T S) e) follows, for a gradient g and y = (1 - S T)^-1 g, g·de = y·dE + y·d(T S) e;
    and y = g + S e' where e' is the local field of the field T g. So the backward pass is written with this function
    itself and can be differentiated again, and atoms without polarizability need no exception.
    """

    generate_vmap_rule = False

    @staticmethod
    def forward(problem: MutualInduction, external: Tensor, *tensors: Tensor) -> Tensor:  # noqa: D102
        with torch.no_grad():
            return problem.solve(external)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: D102
        ctx.problem, _, *tensors = inputs
        ctx.save_for_backward(output, *tensors)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None) -> tuple[Tensor | None, ...]:  # noqa: D102
        local, *tensors = ctx.saved_tensors
        if gradient is None:  # first derivatives of a stationary energy
            return None, None, *(None for _ in tensors)
        problem, alpha = ctx.problem, tensors[0]
        y = gradient + respond(alpha, LocalField.apply(problem, problem.field(gradient, *tensors[1:]), *tensors))

        def field(alpha: Tensor, *geometry: Tensor) -> Tensor:
            return problem.field(respond(alpha, local), *geometry)

        return None, y, *partial_derivatives(field, tensors, y)


class StationaryEnergy(torch.autograd.Function):
    """U(e; x), (B,), at an e where U is stationary: dU/dx is the partial derivative, which costs no solve.

    That derivative still depends on e, and e on x, so the second derivative is complete. (Of the envelope theorem's
    identity dU/dx = ∂U/∂x both sides are functions of x, equal everywhere, so all their derivatives are.)
    """

    generate_vmap_rule = False

    @staticmethod
    def forward(problem: MutualInduction, local: Tensor, external: Tensor, *tensors: Tensor) -> Tensor:  # noqa: D102
        with torch.no_grad():
            return problem.energy(local, external, *tensors)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: D102
        ctx.problem, *tensors = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # noqa: D102
        local, *tensors = ctx.saved_tensors
        partial = partial_derivatives(lambda *values: ctx.problem.energy(local, *values), tensors, gradient)
        return None, None, *partial


def partial_derivatives(
    function: Callable[..., Tensor], tensors: Sequence[Tensor], gradient: Tensor
) -> list[Tensor | None]:
    """The gradient of gradient·function(*tensors) by each tensor, all else that the function uses held fixed.

    Where this is differentiated again, nothing is held fixed. None for a tensor without derivatives.
    """
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        # other names for the same values: what was computed from the tensors before does not depend on these
        places = [tensor.view_as(tensor) for tensor in tensors]
        wanted = [place for place in places if place.requires_grad]
        if not wanted:
            return [None for _ in tensors]
        value = function(*places)
        found = iter(torch.autograd.grad(value, wanted, gradient, create_graph=again, allow_unused=True))
    return [next(found) if place.requires_grad else None for place in places]
