"""The smooth part of dipoles' interaction in periodic structures, summed over wave vectors.

Structures periodic in three, two and one directions are treated as charges are (`eqff.longrange.lattice`).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.dispersion.mbd.sampling import Samples
from eqff.longrange.lattice import Lattice
from eqff.longrange.padding import Padding
from eqff.longrange.tuning import Splitting


def smooth_dipole_sum(graph: AtomicGraph, padding: Padding, samples: Samples, splitting: Splitting) -> Tensor:
    """sum over lattice vectors L of T_smooth(r_j + L - r_i) exp(iq·L) for pairs of atoms, less an atom's own at L = 0.

    T_smooth is the tensor of erf(alpha r)/r. At q = 0 of a three-dimensional lattice, where the field depends on the
    direction from which q comes, it is the mean of all directions, 4 pi/(3 V): what a sphere in vacuum has.

    Args:
        graph: The batch.
        padding: The atoms of each sample, (M, n).
        samples: M samples of periodic structures.
        splitting: Of the sum.

    Returns:
        1/Å³, (M, 3n, 3n), real if all q are zero.
    """
    structures = samples.structure
    positions = padding.gather(graph.positions.to(torch.float64))
    cell, pbc = graph.cell[structures].to(torch.float64), graph.pbc[structures]
    lattice = Lattice.of(cell, pbc, positions, padding.mask, splitting.cutoff)
    multiples, within = _around(lattice, samples.fractions, splitting.wave_cutoff)
    waves = lattice.wave_vectors(multiples)
    weights = lattice.influence(multiples, splitting.alpha) * within
    phase = positions @ waves.transpose(1, 2)
    mask = padding.mask[:, :, None]
    # rows (i, a) of exp(-ik·r_i) k_a
    cosine, sine = (_rows(part(phase) * mask, waves) for part in (torch.cos, torch.sin))
    weighted = weights[:, None, :]
    matrix = (cosine * weighted) @ cosine.transpose(1, 2) + (sine * weighted) @ sine.transpose(1, 2)
    own = 4 * splitting.alpha**3 / (3 * math.sqrt(math.pi))
    eye = torch.eye(3, dtype=cell.dtype, device=cell.device)
    taken = padding.mask.to(cell.dtype)
    matrix = matrix - own * torch.diag_embed(taken.repeat_interleave(3, dim=1))
    if samples.at_origin:
        shape = torch.where(pbc.all(dim=1), 4 * torch.pi / (3 * lattice.volume), 0.0)
        all_pairs = taken[:, :, None, None, None] * taken[:, None, None, :, None] * eye[:, None, :]
        return matrix + shape[:, None, None] * all_pairs.reshape(matrix.shape)
    odd = (cosine * weighted) @ sine.transpose(1, 2)
    return torch.complex(matrix, odd - odd.transpose(1, 2))


def _rows(phase: Tensor, waves: Tensor) -> Tensor:
    """phase_iK k_Ka as (M, 3n, K)."""
    return (phase[:, :, None, :] * waves.transpose(1, 2)[:, None]).flatten(1, 2)


def _around(lattice: Lattice, fractions: Tensor, wave_cutoff: float) -> tuple[Tensor, Tensor]:
    """All G - q within a cutoff (1/Å), in reciprocal vectors, (M, K, 3), and which of them a sample has, (M, K)."""
    with torch.no_grad():
        longest = torch.linalg.vector_norm(lattice.cell, dim=-1).amax(dim=0)
        limits = (longest * wave_cutoff / (2 * torch.pi) + 1).floor().long().tolist()  # q is shorter than one vector
        axes = [torch.arange(-limit, limit + 1, device=fractions.device) for limit in limits]
        grid = torch.cartesian_prod(*axes).to(fractions.dtype) - fractions[:, None, :]  # (M, all, 3)
        within = (grid @ lattice.reciprocal).square().sum(dim=-1) <= wave_cutoff**2
        count = int(within.sum(dim=1).max())
        order = torch.argsort(~within, dim=1, stable=True)[:, :count]
        return torch.gather(grid, 1, order[:, :, None].expand(-1, -1, 3)), torch.gather(within, 1, order)
