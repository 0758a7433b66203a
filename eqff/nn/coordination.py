"""Coordination numbers that change smoothly with the geometry."""

from __future__ import annotations

import torch
from torch import Tensor

from eqff.data.graph import Edges
from eqff.errors import ModelError
from eqff.nn.covalent_radii import COVALENT_RADII
from eqff.nn.reduce import segment_sum

STEEPNESS = 7.5


def coordination_numbers(edges: Edges, numbers: Tensor, highest: float | None = 8.0, stretch: float = 4 / 3) -> Tensor:
    """CN_i = sum_j (1 - erf(7.5 (r_ij/R_ij - 1))) / 2, with R_ij = 4/3 of the sum of the covalent radii.

    The counting function of DFT-D4 and its electronegativity equilibration [Caldeweyher et al., J. Chem. Phys. 150,
    154122 (2019)].

    Args:
        edges: Neighbours up to 1.6 R_ij or more, beyond which the error function leaves 1e-10 of a neighbour.
        numbers: Atomic numbers, (N,), up to 103.
        highest: Where it levels off: CN -> log(1 + e^h) - log(1 + e^(h - CN)); None for not at all.
        stretch: The 4/3.

    Returns:
        (N,), float64.

    Raises:
        ModelError: An element beyond 103.
    """
    if bool((numbers > len(COVALENT_RADII)).any()):
        raise ModelError(f"There are covalent radii up to Z = {len(COVALENT_RADII)}; the structure has heavier atoms.")
    table = torch.tensor((0.0, *COVALENT_RADII), dtype=torch.float64, device=numbers.device)
    radii = stretch * (table[numbers[edges.sender]] + table[numbers[edges.receiver]])
    total = counted_neighbours(edges, radii)
    if highest is None:
        return total
    level = torch.tensor(highest, dtype=torch.float64, device=numbers.device)
    return torch.nn.functional.softplus(level) - torch.nn.functional.softplus(level - total)


def counted_neighbours(edges: Edges, bonds: Tensor, worth: Tensor | None = None) -> Tensor:
    """sum_j worth_ij erfc(7.5 (r_ij/R_ij - 1)) / 2, (N,), float64.

    Args:
        edges: Neighbours, see `coordination_numbers`.
        bonds: R_ij of each in Å, (E,).
        worth: What each counts, (E,); 1 by default.
    """
    counted = 0.5 * torch.erfc(STEEPNESS * (edges.lengths.to(torch.float64) / bonds - 1))
    return segment_sum(counted if worth is None else worth * counted, edges.receiver, edges.slots.shape[0])


def eeq_electronegativity(bare: Tensor, kappa: Tensor, coordination: Tensor) -> Tensor:
    """chi = chi⁰ - kappa sqrt(CN) of EEQ in V, (N,), finite in its derivatives for atoms without neighbours too.

    [Caldeweyher et al., J. Chem. Phys. 150, 154122 (2019)]
    """
    return bare - kappa * (coordination + torch.finfo(torch.float64).eps).sqrt()
