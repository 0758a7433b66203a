"""Bessel functions: K0 and K1 with derivatives of any order, which PyTorch's own lack; J0 and J1 of constants."""

from __future__ import annotations

from typing import Any

import scipy.special
import torch
from torch import Tensor


class _K0(torch.autograd.Function):
    """K0, whose derivative is -K1."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return torch.special.modified_bessel_k0(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return -gradient * bessel_k1(x)


class _K1(torch.autograd.Function):
    """K1, whose derivative is -K0 - K1/x."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return torch.special.modified_bessel_k1(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return -gradient * (bessel_k0(x) + bessel_k1(x) / x)


def bessel_k0(x: Tensor) -> Tensor:
    """K0(x) for x > 0."""
    return _K0.apply(x)


def bessel_k1(x: Tensor) -> Tensor:
    """K1(x) for x > 0."""
    return _K1.apply(x)


class _ConstantBessel(torch.autograd.Function):
    """SciPy's J0 and J1; a function of its own because only there torch.func hands over plain tensors."""

    generate_vmap_rule = False

    @staticmethod
    def forward(x: Tensor) -> tuple[Tensor, Tensor]:
        values = x.detach().cpu().numpy()
        return tuple(torch.as_tensor(f(values), device=x.device) for f in (scipy.special.j0, scipy.special.j1))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(*output)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> None:
        return None


def constant_bessel(x: Tensor) -> tuple[Tensor, Tensor]:
    """J0(x) and J1(x) without derivatives, by SciPy: PyTorch's (2.13) are off by 4e-7 around x = 5."""
    return _ConstantBessel.apply(x)
