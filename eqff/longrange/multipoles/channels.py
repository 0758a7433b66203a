"""Potentials, fields and field gradients of many sets of charges at once: of channels without a physical meaning."""

from __future__ import annotations

import torch
from torch import Tensor

from eqff.longrange.multipoles.bound import BoundMultipoles
from eqff.longrange.multipoles.moments import COMPONENTS, UPPER
from eqff.nn.reduce import segment_sum
from eqff.units import COULOMB_CONSTANT


def channel_fields(bound: BoundMultipoles, charges: Tensor, rank: int) -> Tensor:
    """What all other charges of a channel, and all images, make at the place of each atom.

    As `BoundMultipoles.fields` of each channel; pairs are gone through once for all of them.

    Args:
        bound: To a geometry, with enough members of its chains: of moments and fields that together have this rank.
        charges: e, float64, (N, K).
        rank: 0 for the potential, 1 for the field too, 2 for its gradient too.

    Returns:
        V, V/Å, V/Å²: (N, 1, 4 or 10, K) with components as in `eqff.longrange.multipoles.moments.LocalFields.packed`.
    """
    pairs = bound.pairs
    even, odd = _of_units(pairs.vectors, pairs.chain, rank)
    fields = _summed(even + odd, charges[pairs.second], pairs.first, len(charges))
    fields = fields + _summed(even - odd, charges[pairs.first], pairs.second, len(charges))
    if bound.sums:
        fields = fields - _of_own(bound.own, rank)[:, :, None] * charges[:, None]
    for part in bound.sums:
        fields = fields + torch.stack([part.fields(column, rank) for column in charges.split(1, dim=1)], dim=2)
    return COULOMB_CONSTANT * fields


def _of_units(vectors: Tensor, chain: tuple[Tensor, ...], rank: int) -> tuple[Tensor, Tensor]:
    """What a unit charge makes at ``vectors`` (3, E) from it, what changes sign with them apart, (E, 1, 4 or 10)."""
    zero = torch.zeros_like(chain[0])
    even, odd = [chain[0]], [zero]
    if rank >= 1:
        even += [zero] * 3
        odd += [x * chain[1] for x in vectors]
    if rank >= 2:
        bent = [-vectors[a] * vectors[b] * chain[2] for a, b in UPPER]
        even += [value + chain[1] if a == b else value for value, (a, b) in zip(bent, UPPER, strict=True)]
        odd += [zero] * (COMPONENTS[2] - COMPONENTS[1])
    return torch.stack(even, dim=1), torch.stack(odd, dim=1)


def _of_own(own: Tensor, rank: int) -> Tensor:
    """What sums over waves hold of a unit charge in its own place, (N, 1, 4 or 10); see `BoundMultipoles.own`."""
    potential, bend = own[:, 0], own[:, 1]
    columns = [potential] + [torch.zeros_like(bend)] * (3 * (rank >= 1))
    if rank >= 2:
        columns += [bend if a == b else torch.zeros_like(bend) for a, b in UPPER]
    return torch.stack(columns, dim=1)


def _summed(of_units: Tensor, charges: Tensor, index: Tensor, count: int) -> Tensor:
    """(N, 1, 4 or 10, K)."""
    return segment_sum(of_units[:, :, None] * charges[:, None, :], index, count)
