"""Pointwise products of functions on the sphere in spherical components, with first and second derivatives."""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor

from eqff.kernels.call import Couplings, address, function, number, plan, require, threads
from eqff.kernels.choice import eager
from eqff.kernels.rules import needed, plain_gradients


class ProductPlan:
    """Couplings of u v → t and of t w → p, in every order in which derivatives sum them.

    Args:
        first: (middle, inputs, inputs): t_k = Σ first_kij u_i v_j.
        second: (outputs, middle, inputs): p_k = Σ second_kij t_i w_j.
        order: 2 for products of u and v alone, 3 with w.
        dtype: Of the numbers.
    """

    def __init__(self, first: Tensor, second: Tensor, order: int, dtype: torch.dtype):
        self.first, self.second, self.order = first.to(dtype), second.to(dtype), order
        self.outputs, self.middle, self.inputs = second.shape
        orders = [first.permute(axes) for axes in ((0, 1, 2), (1, 0, 2), (2, 0, 1))]
        orders += [second.permute(axes) for axes in ((0, 1, 2), (1, 0, 2), (2, 0, 1))]
        self._tables = [Couplings(table, dtype) for table in orders]
        self._structure = plan(self._tables, (self.inputs, self.outputs, self.middle, order))
        self.pointer = ctypes.cast(ctypes.pointer(self._structure), ctypes.c_void_p)

    def plain(self, factors: Tensor, scale: Tensor) -> Tensor:
        """The same as `products` in plain PyTorch."""
        parts = factors.unflatten(2, (self.order, -1)).unbind(dim=2)
        middle = torch.einsum("kij,inc,jnc->knc", self.first, parts[0], parts[1])
        found = [parts[0][: self.outputs], middle[: self.outputs]]
        if self.order == 3:
            found.append(torch.einsum("kij,inc,jnc->knc", self.second, middle, parts[2]))
        return torch.cat(found, dim=2) * scale

    def plain_first(self, factors: Tensor, scale: Tensor, given: Tensor) -> tuple[Tensor, ...]:
        """Derivatives of <given, products> by factors and scale, in plain PyTorch."""
        inputs = [value if value.requires_grad else value.detach().requires_grad_() for value in (factors, scale)]
        return torch.autograd.grad(self.plain(*inputs), inputs, given, create_graph=True)

    def run(self, name: str, factors: Tensor, *others: Tensor | None) -> None:
        """Calls a function of the library with arrays as it names them."""
        channels = factors.shape[2] // self.order
        arrays = (address(value) for value in (factors, *others))
        function(name, factors.dtype)(self.pointer, number(factors.shape[1]), number(channels), *arrays, threads())


def products(factors: Tensor, scale: Tensor, plan: ProductPlan) -> Tensor:
    """From factors [u, v (, w)] (inputs, N, order · C) to [u, t (, p)] · scale, (outputs, N, order · C).

    Args:
        factors: Side by side.
        scale: (N, order · C).
        plan: How t and p follow from them.
    """
    fits = factors.dtype == scale.dtype == plan.first.dtype and factors.shape[0] == plan.inputs
    require(fits and factors.shape[1:] == scale.shape and scale.shape[1] % plan.order == 0, factors, scale)
    return Products.apply(factors.contiguous(), scale.contiguous(), plan)


class Products(torch.autograd.Function):
    """See `products`; all arrays are contiguous."""

    @staticmethod
    def forward(ctx: Any, factors: Tensor, scale: Tensor, plan: ProductPlan) -> Tensor:
        """The value; inputs are kept for the derivatives."""
        ctx.save_for_backward(factors, scale)
        ctx.plan = plan
        out = factors.new_empty(plan.outputs, *factors.shape[1:])
        plan.run("products_forward", factors, scale, out)
        return out

    @staticmethod
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:
        """Derivatives of the inner product with ``given`` (or ``along``) by the inputs."""
        saved, plan = ctx.saved_tensors, ctx.plan
        if not eager(given):
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
        by_factors, by_scale = torch.empty_like(factors), torch.empty_like(scale) if want_scale else None
        plan.run("products_backward", factors, scale, given, by_factors, by_scale)
        return by_factors, by_scale

    @staticmethod
    def backward(ctx: Any, along: Tensor | None, along_scale: Tensor | None) -> tuple[Tensor | None, ...]:
        """Derivatives of the inner product with ``given`` (or ``along``) by the inputs."""
        saved, plan = ctx.saved_tensors, ctx.plan
        if torch.is_grad_enabled() or along_scale is not None or not eager(along):
            return *plain_gradients(plan.plain_first, saved, (along, along_scale)), None, None
        if along is None:
            return None, None, None, None, None
        by = tuple(torch.empty_like(value) for value in saved)
        factors, scale, given = saved
        plan.run("products_twice", factors, scale, given, along.contiguous(), *by)
        return *by, None, None
