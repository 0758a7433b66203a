"""Polynomials of functions on the sphere, in spherical components, with first and second derivatives."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from eqff.kernels.call import require
from eqff.kernels.capture import each_like, operation
from eqff.kernels.choice import implementation, own_derivatives
from eqff.kernels.product_plans import ProductPlan
from eqff.kernels.rules import needed, plain_gradients


def products(factors: Tensor, scale: Tensor, plan: ProductPlan) -> Tensor:
    """Polynomials of factors, weighed with a scale.

    Args:
        factors: Side by side, (inputs, N, parts_in · C).
        scale: (N, parts_scale · C).
        plan: Which polynomials.

    Returns:
        (outputs, N, parts_out · C).
    """
    channels = plan.channels(factors)
    fits = factors.dtype == scale.dtype == plan.first.dtype and len(factors) == plan.inputs
    fits = fits and factors.shape[2] == plan.parts_in * channels
    require(fits and scale.shape == (factors.shape[1], plan.parts_scale * channels), factors, scale)
    return Products.apply(factors.contiguous(), scale.contiguous(), plan)


def takes(plan: ProductPlan, like: Tensor) -> bool:
    """Whether `products` run on the device of (..., C), where `eqff.kernels.choice.fused` said yes."""
    return implementation(like, "products").takes(plan, like.shape[-1], like.dtype)


def _run(plan: ProductPlan, name: str, read: tuple[Tensor, ...], written: tuple[Tensor | None, ...]) -> None:
    implementation(read[0], "products").run(plan, name, read, written)


def _value_like(plan: ProductPlan, factors: Tensor, scale: Tensor) -> Tensor:
    return factors.new_empty(plan.outputs, factors.shape[1], plan.parts_out * plan.channels(factors))


@operation("(str constant, Tensor factors, Tensor scale) -> Tensor", _value_like)
def products_value(plan: ProductPlan, factors: Tensor, scale: Tensor) -> Tensor:
    """See `products`."""
    out = _value_like(plan, factors, scale)
    _run(plan, "forward", (factors, scale), (out,))
    return out


def _first_like(
    plan: ProductPlan, factors: Tensor, scale: Tensor, given: Tensor, want_scale: bool
) -> tuple[Tensor, Tensor]:
    return factors.new_empty(factors.shape), scale.new_empty(scale.shape if want_scale else 0)


@operation(
    "(str constant, Tensor factors, Tensor scale, Tensor given, bool want_scale) -> (Tensor, Tensor)", _first_like
)
def products_first(
    plan: ProductPlan, factors: Tensor, scale: Tensor, given: Tensor, want_scale: bool
) -> tuple[Tensor, Tensor]:
    """Derivatives of <given, products> by factors and scale, the latter without numbers if it is not wanted."""
    by_factors, by_scale = _first_like(plan, factors, scale, given, want_scale)
    _run(plan, "backward", (factors, scale, given), (by_factors, by_scale if want_scale else None))
    return by_factors, by_scale


def _second_like(plan: ProductPlan, *tensors: Tensor) -> tuple[Tensor, ...]:
    return each_like(*tensors[:3])


@operation(
    "(str constant, Tensor factors, Tensor scale, Tensor given, Tensor along) -> (Tensor, Tensor, Tensor)", _second_like
)
def products_second(
    plan: ProductPlan, factors: Tensor, scale: Tensor, given: Tensor, along: Tensor
) -> tuple[Tensor, ...]:
    """Derivatives of <along, derivative of <given, products> by factors> by factors, scale and what was given."""
    by = _second_like(plan, factors, scale, given)
    _run(plan, "twice", (factors, scale, given, along), by)
    return by


class Products(torch.autograd.Function):
    """See `products`; all arrays are contiguous."""

    @staticmethod
    def forward(ctx: Any, factors: Tensor, scale: Tensor, plan: ProductPlan) -> Tensor:
        """The value; inputs are kept for the derivatives."""
        ctx.save_for_backward(factors, scale)
        ctx.plan = plan
        return products_value(plan, factors, scale)

    @staticmethod
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:
        """Derivatives of the inner product with ``given`` (or ``along``) by the inputs."""
        saved, plan = ctx.saved_tensors, ctx.plan
        if not own_derivatives(given):
            return *plain_gradients(lambda *inputs: [plan.plain(*inputs)], saved, [given]), None
        return *ProductsBackward.apply(*saved, given.contiguous(), plan, needed(ctx)[1]), None


class ProductsBackward(torch.autograd.Function):
    """Derivatives of <g, products> by factors and scale."""

    @staticmethod
    def forward(
        ctx: Any, factors: Tensor, scale: Tensor, given: Tensor, plan: ProductPlan, want_scale: bool
    ) -> tuple[Tensor, Tensor | None]:
        """The value; inputs are kept for the derivatives."""
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(factors, scale, given)
        ctx.plan = plan
        by_factors, by_scale = products_first(plan, factors, scale, given, want_scale)
        return by_factors, by_scale if want_scale else None

    @staticmethod
    def backward(ctx: Any, along: Tensor | None, along_scale: Tensor | None) -> tuple[Tensor | None, ...]:
        """Derivatives of the inner product with ``given`` (or ``along``) by the inputs."""
        saved, plan = ctx.saved_tensors, ctx.plan
        if torch.is_grad_enabled() or along_scale is not None or not own_derivatives(along):
            return *plain_gradients(plan.plain_first, saved, (along, along_scale)), None, None
        if along is None:
            return None, None, None, None, None
        return *products_second(plan, *saved, along.contiguous()), None, None
