"""The Boys function, by which interactions of Gaussian charges are smooth functions of squared distances."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

_SPLIT = 1.0
"""Up to here the series, which then ends at 1/20! of its first term; beyond it the recursion, which loses one digit by
order 4 where it begins, and less further out."""

_TERMS = 20


def boys(x: Tensor, order: int = 0) -> Tensor:
    """F_n(x) = integral of t^(2n) exp(-x t²) over t from 0 to 1, differentiable to any order.

    erf(r)/r is 2/sqrt(pi) F_0(r²), with all derivatives by positions also where two charges lie on each other.
    [Boys, Proc. R. Soc. A 200, 542 (1950)]

    Args:
        x: From 0 on, any shape, float64.
        order: n.
    """
    return _Boys.apply(x, order)


class _Boys(torch.autograd.Function):
    """F_n, whose derivative is -F_(n+1)."""

    generate_vmap_rule = False

    @staticmethod
    def forward(x: Tensor, order: int) -> Tensor:
        return torch.where(x < _SPLIT, _series(x.clamp(max=_SPLIT), order), _recursion(x.clamp(min=_SPLIT), order))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, ctx.order = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        return -gradient * boys(x, ctx.order + 1), None


def _series(x: Tensor, order: int) -> Tensor:
    """sum_k (-x)^k / (k! (2n + 2k + 1)), by Horner's rule."""
    value = torch.zeros_like(x)
    for k in reversed(range(_TERMS)):
        value = (-1.0) ** k / (math.factorial(k) * (2 * order + 2 * k + 1)) + x * value
    return value


def _recursion(x: Tensor, order: int) -> Tensor:
    """From F_0 upwards: F_(n+1) = ((2n + 1) F_n - exp(-x)) / 2x."""
    root, decay = x.sqrt(), torch.exp(-x)
    value = 0.5 * math.sqrt(math.pi) * torch.erf(root) / root
    for n in range(order):
        value = ((2 * n + 1) * value - decay) / (2 * x)
    return value
