"""Coordination numbers as D4 counts them."""

from __future__ import annotations

import torch
from torch import Tensor

from eqff.data.graph import Edges
from eqff.nn.coordination import counted_neighbours

STRETCH = 4 / 3
K4, K5, K6 = 4.10451, 19.08857, 2 * 11.28174**2
REACH = 1.8
"""In units of the bond: at this distance the error function leaves 1e-17 of a neighbour."""


def d4_coordination(edges: Edges, radii: Tensor, electronegativity: Tensor) -> Tensor:
    """CN_i = sum_j 4.1 exp(-(|EN_i - EN_j| + 19.1)² / 255) erfc(7.5 (r/R_ij - 1)) / 2, R_ij = 4/3 (R_i + R_j), (N,).

    [Caldeweyher et al., J. Chem. Phys. 150, 154122 (2019)]

    Args:
        edges: Neighbours up to `REACH` bonds.
        radii: Covalent radii of atoms, Å, (N,).
        electronegativity: Pauling's, (N,).
    """
    difference = (electronegativity[edges.sender] - electronegativity[edges.receiver]).abs()
    polar = K4 * torch.exp(-((difference + K5) ** 2) / K6)
    return counted_neighbours(edges, STRETCH * (radii[edges.sender] + radii[edges.receiver]), polar)


def reach(radii: Tensor) -> float:
    """Å that neighbours are counted to, from the covalent radii of a model's elements (S,)."""
    return REACH * STRETCH * 2 * float(radii.max())
