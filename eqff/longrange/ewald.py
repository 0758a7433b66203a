"""The smooth part of the Coulomb sum over wave vectors, term by term: exact, and the reference for all others.

[Ewald, Ann. Phys. 369, 253 (1921)]; cost N^(3/2) at best, batched over structures as matrix products.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from eqff.longrange.lattice import Lattice
from eqff.longrange.padding import Padding
from eqff.longrange.tuning import Splitting


@dataclass(frozen=True)
class EwaldSum:
    """Bound to the geometry of P structures.

    Attributes:
        padding: Their atoms.
        cosine: cos(k·r), (P, n, K), zero in empty places.
        sine: sin(k·r), likewise.
        weights: Of the pair k and -k, (P, K).
        waves: The vectors k, 1/Å, (P, K, 3).
    """

    has_matrix: ClassVar[bool] = True

    padding: Padding
    cosine: Tensor
    sine: Tensor
    weights: Tensor
    waves: Tensor

    @classmethod
    def bind(
        cls, padding: Padding, positions: Tensor, cell: Tensor, pbc: Tensor, splitting: Splitting, accuracy: float
    ) -> EwaldSum:
        """From positions (P, n, 3), cells (P, 3, 3) and pbc (P, 3) of structures with a periodic direction."""
        lattice = Lattice.of(cell, pbc, positions, padding.mask, splitting.cutoff)
        integers, taken = half_space(lattice.cell, splitting.wave_cutoff)
        waves = lattice.wave_vectors(integers)
        phase = positions @ waves.transpose(1, 2)
        pairs = torch.where(integers.eq(0).all(dim=-1), 1.0, 2.0) * taken
        mask = padding.mask[:, :, None]
        weights = pairs * lattice.influence(integers, splitting.alpha)
        return cls(padding, torch.cos(phase) * mask, torch.sin(phase) * mask, weights, waves)

    @property
    def structures(self) -> Tensor:
        """Which structures of the batch are summed, (P,)."""
        return self.padding.structures

    def potential(self, charges: Tensor) -> Tensor:
        """sum_j q_j (smooth part of 1/r_ij and its images), own images and itself included; (N,) from q (N,), e/Å."""
        table = self.padding.gather(charges)[:, None, :]
        cosine = (table @ self.cosine) * self.weights[:, None, :]
        sine = (table @ self.sine) * self.weights[:, None, :]
        potential = cosine @ self.cosine.transpose(1, 2) + sine @ self.sine.transpose(1, 2)
        return self.padding.scatter(potential[:, 0, :])

    def energy(self, charges: Tensor) -> Tensor:
        """Half of sum_i q_i potential_i for each of the P structures, e²/Å."""
        table = self.padding.gather(charges)[:, None, :]
        squared = (table @ self.cosine).square() + (table @ self.sine).square()
        return 0.5 * (squared[:, 0, :] * self.weights).sum(dim=1)

    def matrix(self) -> Tensor:
        """The matrix behind `potential`, 1/Å, (P, n, n)."""
        weights = self.weights[:, None, :]
        cosine = (self.cosine * weights) @ self.cosine.transpose(1, 2)
        return cosine + (self.sine * weights) @ self.sine.transpose(1, 2)


def half_space(cell: Tensor, wave_cutoff: float) -> tuple[Tensor, Tensor]:
    """Of each pair k and -k within a cutoff one, and k = 0.

    Args:
        cell: Å, (P, 3, 3).
        wave_cutoff: 1/Å.

    Returns:
        Whole multiples of the reciprocal vectors (P, K, 3), and which of them belong to a structure, (P, K) bool.
    """
    with torch.no_grad():
        longest = torch.linalg.vector_norm(cell, dim=-1).amax(dim=0)
        limits = (longest * wave_cutoff / (2 * torch.pi)).floor().long().tolist()
        axes = [torch.arange(0 if i == 0 else -limit, limit + 1, device=cell.device) for i, limit in enumerate(limits)]
        grid = torch.cartesian_prod(*axes)
        first, second, third = grid.unbind(1)
        grid = grid[(first > 0) | (second > 0) | ((second == 0) & (third >= 0))]
        reciprocal = 2 * torch.pi * torch.linalg.inv(cell).transpose(1, 2)
        within = (grid.to(cell.dtype) @ reciprocal).square().sum(dim=-1) <= wave_cutoff**2  # (P, M)
        count = int(within.sum(dim=1).max())
        order = torch.argsort(~within, dim=1, stable=True)[:, :count]
        return grid[order], torch.gather(within, 1, order)
