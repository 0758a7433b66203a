"""Radial functions of multipole interactions: B_0 = u(r), B_n+1 = -(1/r) dB_n/dr for a potential u of two charges."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def bare_chain(lengths: Tensor, count: int) -> list[Tensor]:
    """Of u = 1/r: B_n = (2n - 1)!! / r^(2n + 1) for n < ``count``, each (E,), in 1/Å^(2n + 1)."""
    inverse = 1 / lengths
    squared = inverse.square()
    chain = [inverse]
    for n in range(1, count):
        chain.append((2 * n - 1) * chain[-1] * squared)
    return chain


def complementary_chain(lengths: Tensor, alpha: float, count: int) -> list[Tensor]:
    """Of u = erfc(alpha r)/r, what Ewald's sum leaves to neighbours [Smith, CCP5 Newsletter 46, 18 (1998)].

    Args:
        lengths: r in Å, (E,).
        alpha: 1/Å.
        count: How many; the n-th in 1/Å^(2n + 1).
    """
    inverse = 1 / lengths
    squared = inverse.square()
    gauss = torch.exp(-(alpha**2) * lengths.square()) / (alpha * math.sqrt(math.pi))
    chain = [torch.erfc(alpha * lengths) * inverse]
    for n in range(1, count):
        chain.append(((2 * n - 1) * chain[-1] + (2 * alpha**2) ** n * gauss) * squared)
    return chain


def smooth_origin(alpha: float, count: int) -> list[float]:
    """B_n(0) of u = erf(alpha r)/r, what a moment makes in its own place: (2 alpha²)^n 2 alpha / (√π (2n + 1))."""
    return [(2 * alpha**2) ** n * 2 * alpha / (math.sqrt(math.pi) * (2 * n + 1)) for n in range(count)]
