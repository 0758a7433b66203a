"""Born effective charges: what an atom's displacement does to the dipole."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.errors import ModelError


def born_charges(graph: AtomicGraph, charges: Tensor, dipoles: Tensor | None = None) -> Tensor:
    """Z_k,ab = d mu_b / d r_ka = q_k delta_ab + sum_j r_jb dq_j/dr_ka + sum_j dmu_jb/dr_ka in e, (N, 3, 3).

    Three vector-Jacobian products where no structure is periodic. Along a lattice vector a_c, charge that flows from k
    to j is counted over the distance sin(2 pi s) / 2 pi · a_c, s being the difference of their fractional coordinates,
    instead of s · a_c: that does not depend on which images are given, and is the same for charge that flows over
    distances short beside the cell, which all but a correction of second order does [Zhong, Kim, King & Cheng,
    arXiv:2504.05169 (2025)]. It takes six more products. The result can be differentiated again.

    Args:
        graph: The batch; charges and dipoles must have been computed from its positions, under autograd.
        charges: q in e, (N,).
        dipoles: mu in e·Å, (N, 3), all that count; None for none.

    Raises:
        ModelError: The positions don't take part in autograd.
    """
    positions = graph.positions
    if not positions.requires_grad:
        raise ModelError(
            "Born charges are derivatives by positions, and these were given without gradients. Take charges and "
            "dipoles from graph.deformed(positions) with positions.requires_grad, outside of torch.no_grad."
        )
    places = positions.to(torch.float64)
    if graph.open:
        columns = _along_axes(positions, charges, dipoles, places)
    else:
        # a vector in an open direction, such as the height of a slab's box, is no period
        lattice = torch.where(graph.pbc[:, :, None], graph.cell.detach().to(torch.float64), 0.0)
        fractional = (places[:, None, :] @ torch.linalg.pinv(lattice)[graph.batch])[:, 0, :]
        beside = places - (fractional[:, None, :] @ lattice[graph.batch])[:, 0, :]
        columns = _along_axes(positions, charges, dipoles, beside)
        if bool(graph.pbc.any()):
            columns = columns + _along_lattice(positions, charges, fractional, lattice[graph.batch])
    own = charges.to(columns.dtype)[:, None, None] * torch.eye(3, dtype=columns.dtype, device=columns.device)
    return (own + columns).to(positions.dtype)


def _along_axes(positions: Tensor, charges: Tensor, dipoles: Tensor | None, places: Tensor) -> Tensor:
    columns = []
    for b in range(3):
        outputs, weights = [charges], [places[:, b].to(charges.dtype)]
        if dipoles is not None:
            direction = torch.zeros_like(dipoles)
            direction[:, b] = 1.0
            outputs.append(dipoles)
            weights.append(direction)
        columns.append(_derivative(outputs, positions, weights))
    return torch.stack(columns, dim=2)


def _along_lattice(positions: Tensor, charges: Tensor, fractional: Tensor, lattice: Tensor) -> Tensor:
    angles = 2 * math.pi * fractional
    sine, cosine = angles.sin() / (2 * math.pi), angles.cos()
    columns = torch.zeros((), dtype=torch.float64, device=positions.device)
    for c in range(3):
        # sin(x_j - x_k) = cos x_k sin x_j - sin x_k cos x_j; rows of no periodicity are zero here
        with_sine = _derivative([charges], positions, [sine[:, c].to(charges.dtype)])
        with_cosine = _derivative([charges], positions, [cosine[:, c].to(charges.dtype)])
        flow = cosine[:, c, None] * with_sine - sine[:, c, None] * with_cosine
        columns = columns + flow[:, :, None] * lattice[:, c, None, :]
    return columns


def _derivative(outputs: list[Tensor], positions: Tensor, weights: list[Tensor]) -> Tensor:
    pairs = [pair for pair in zip(outputs, weights, strict=True) if pair[0].requires_grad]
    if not pairs:  # charges from a table
        return torch.zeros_like(positions, dtype=torch.float64)
    known, factors = (list(part) for part in zip(*pairs, strict=True))
    (found,) = torch.autograd.grad(
        known, positions, factors, create_graph=True, allow_unused=True, materialize_grads=True
    )
    return found.to(torch.float64)
