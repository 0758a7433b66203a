"""The smooth part of the sum over periodic multipoles, wave vector by wave vector: exact, and the reference.

The structure factor of moments is S(k) = sum_j (q_j + i k·mu_j - k·Q_j·k) exp(ik·r_j) with Q = Theta/3 [Smith, CCP5
Newsletter 46, 18 (1998); Aguado and Madden, J. Chem. Phys. 119, 7471 (2003)]. What depends on waves alone is taken out
of the sums over atoms, so these are matrix products with cos(k·r) and sin(k·r).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from eqff.longrange.ewald import EwaldSum
from eqff.longrange.multipoles.moments import COMPONENTS, UPPER
from eqff.longrange.padding import Padding
from eqff.longrange.tuning import Splitting


@dataclass(frozen=True)
class MultipoleWaves:
    """Bound to the geometry of P structures.

    Attributes:
        sum: Phases and weights of the waves.
        powers: 1, k (3) and k k (6 as in `UPPER`) of each wave, (P, 10, K).
    """

    has_matrix: ClassVar[bool] = True

    sum: EwaldSum
    powers: Tensor

    @classmethod
    def bind(
        cls, padding: Padding, positions: Tensor, cell: Tensor, pbc: Tensor, splitting: Splitting, accuracy: float
    ) -> MultipoleWaves:
        """As `EwaldSum.bind`."""
        waves = EwaldSum.bind(padding, positions, cell, pbc, splitting, accuracy)
        k = waves.waves.unbind(dim=2)
        squares = [k[a] * k[b] for a, b in UPPER]
        return cls(waves, torch.stack([torch.ones_like(k[0]), *k, *squares], dim=1))

    @property
    def structures(self) -> Tensor:
        """Which structures of the batch are summed, (P,)."""
        return self.sum.structures

    def fields(self, rows: Tensor, rank: int) -> Tensor:
        """Packed fields without k_e, of all images and of each moment in its own place, (N, 1, 4 or 10)."""
        cosine, sine = (part * self.sum.weights for part in self._structure_factor(rows))
        # even powers go with cos(k·r) Re S + sin(k·r) Im S, odd ones with sin(k·r) Re S - cos(k·r) Im S
        powers = self.powers[:, : COMPONENTS[rank]]
        odd = torch.zeros(powers.shape[1], 1, dtype=torch.bool, device=powers.device)
        odd[1:4] = True
        with_cosine = powers * torch.where(odd, -sine[:, None], cosine[:, None])
        with_sine = powers * torch.where(odd, cosine[:, None], sine[:, None])
        table = self.sum.cosine @ with_cosine.transpose(1, 2) + self.sum.sine @ with_sine.transpose(1, 2)
        return self.sum.padding.scatter(table)

    def energy(self, rows: Tensor) -> Tensor:
        """Half of the moments times the fields, for each of the P structures, e²/Å."""
        cosine, sine = self._structure_factor(rows)
        return 0.5 * ((cosine.square() + sine.square()) * self.sum.weights).sum(dim=1)

    def dipole_blocks(self) -> Tensor:
        """E_i = sum_j T_ij mu_j without k_e, own places included, 1/Å³, (P, n, n, 3, 3)."""
        blocks = []
        for power in self.powers[:, 4:].unbind(1):
            weights = (-self.sum.weights * power)[:, None, :]
            cosine = (self.sum.cosine * weights) @ self.sum.cosine.transpose(1, 2)
            blocks.append(cosine + (self.sum.sine * weights) @ self.sum.sine.transpose(1, 2))
        xx, xy, xz, yy, yz, zz = blocks
        return torch.stack([xx, xy, xz, xy, yy, yz, xz, yz, zz], dim=-1).unflatten(-1, (3, 3))

    def _structure_factor(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Re S and Im S, each (P, K)."""
        table = self.sum.padding.gather(rows).transpose(1, 2)
        cosine, sine = table @ self.sum.cosine, table @ self.sum.sine
        real, imaginary = cosine[:, 0], sine[:, 0]
        if rows.shape[1] >= COMPONENTS[1]:
            powers = self.powers[:, 1:4]
            real = real - (powers * sine[:, 1:4]).sum(dim=1)
            imaginary = imaginary + (powers * cosine[:, 1:4]).sum(dim=1)
        if rows.shape[1] == COMPONENTS[2]:
            # off-diagonal components stand for two
            twice = rows.new_tensor([1.0 if a == b else 2.0 for a, b in UPPER])[:, None]
            powers = self.powers[:, 4:] * twice
            real = real - (powers * cosine[:, 4:]).sum(dim=1)
            imaginary = imaginary - (powers * sine[:, 4:]).sum(dim=1)
        return real, imaginary
