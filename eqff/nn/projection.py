"""Atomic values that add up to what a whole structure has: the one projection behind every charge and spin model."""

from __future__ import annotations

import torch
from torch import Tensor

from eqff.nn.reduce import segment_sum

FLOOR = 1e-30
"""Of learned weights, whose usual size is 1: derivatives of shares grow as 1/weight², which float64 still holds."""


def project_to_total(values: Tensor, totals: Tensor, batch: Tensor, weights: Tensor | None = None) -> Tensor:
    """Adds to each value its share of what its structure lacks: q = q0 + w (Q - sum q0), with sum w = 1.

    The nearest point to q0 under sum q = Q, in the norm in which atom i costs 1/w_i. Equal weights are PhysNet's
    correction [Unke & Meuwly, JCTC 15, 3678 (2019)]; learned ones with one channel per spin are neutral spin
    equilibration [Zubatyuk et al., Nat. Commun. 12, 4870 (2021)]; 1/hardness gives linear charge equilibration.

    Sums run in float64, so totals hold to the rounding of ``values``. Weights are scaled by the largest of their
    structure first: tiny ones share out as exactly as large ones, and where all are zero the shares are equal.

    Args:
        values: q0, (N,) or (N, C) for C channels with a total each.
        totals: Q, (B,) or (B, C).
        batch: Structure of each atom, (N,).
        weights: Non-negative, of the shape of ``values``; None for equal ones.

    Returns:
        q, in the shape and dtype of ``values``.
    """
    exact = values.to(torch.float64)
    shares = _shares(torch.ones_like(exact) if weights is None else weights.to(torch.float64), batch, totals)
    missing = totals.to(torch.float64) - segment_sum(exact, batch, totals.shape[0])
    return (exact + shares * missing[batch]).to(values.dtype)


def positive(values: Tensor) -> Tensor:
    """Positive weights from any numbers: softplus, with a floor that keeps derivatives finite; float64.

    The floor takes nothing from totals, whatever the weights are: `project_to_total` divides them by their own sum.
    """
    return torch.nn.functional.softplus(values.to(torch.float64)) + FLOOR


def _shares(weights: Tensor, batch: Tensor, totals: Tensor) -> Tensor:
    """Weights that sum to one over each structure, (N, ...)."""
    index = batch.reshape((-1,) + (1,) * (weights.dim() - 1)).expand_as(weights)
    # the scale cancels in the quotient, so it needs no gradient
    largest = torch.zeros(totals.shape, dtype=weights.dtype, device=weights.device)
    largest = largest.scatter_reduce(0, index, weights.detach(), "amax")[batch]
    usable = largest > 0
    scaled = torch.where(usable, weights / torch.where(usable, largest, 1.0), 1.0)
    return scaled / segment_sum(scaled, batch, totals.shape[0])[batch]
