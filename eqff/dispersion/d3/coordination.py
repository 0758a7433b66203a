"""Coordination numbers as D3 counts them."""

from __future__ import annotations

import torch
from torch import Tensor

from eqff.dispersion.cutoffs import Cutoff
from eqff.dispersion.pairs import Pairs
from eqff.nn.reduce import segment_sum

STEEPNESS = 16.0
STRETCH = 4 / 3


def d3_coordination(pairs: Pairs, radii: Tensor, cutoff: Cutoff) -> Tensor:
    """CN_i = sum_j 1 / (1 + exp(-16 (4/3 (R_i + R_j) / r_ij - 1))) [Grimme et al., J. Chem. Phys. 132, 154104 (2010)].

    The counting function does not go to zero but to 1e-7, so a cutoff belongs to its definition.

    Args:
        pairs: At least those within the cutoff.
        radii: Covalent radii of atoms, Å, (N,).
        cutoff: Of neighbours that count.

    Returns:
        (N,), float64.
    """
    bond = STRETCH * (radii[pairs.first] + radii[pairs.second])
    counted = torch.sigmoid(STEEPNESS * (bond / pairs.lengths - 1)) * cutoff.weight(pairs.lengths)
    num_atoms = radii.shape[0]
    return segment_sum(counted, pairs.first, num_atoms) + segment_sum(counted, pairs.second, num_atoms)
