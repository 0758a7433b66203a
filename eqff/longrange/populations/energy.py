"""The energy of a batch as a function of atomic populations, with its derivatives by them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from eqff.longrange.interaction import BoundInteraction
from eqff.longrange.padding import Padding
from eqff.nn.reduce import segment_sum
from eqff.nn.site_energies import SiteEnergies


@dataclass(frozen=True)
class NeighbourSums:
    """Smoothed populations of neighbours: sum_j w_s(r_ij) x_j for S functions of the distance that end smoothly.

    Attributes:
        sender: Of each edge, (E,).
        receiver: Likewise; both directions are present.
        weights: w, the same in both directions, (E, S).
    """

    sender: Tensor
    receiver: Tensor
    weights: Tensor

    def inputs(self, populations: Tensor) -> Tensor:
        """Own populations and sums, (N, C, 1 + S), from populations (N, C)."""
        around = self._sum(populations[:, :, None].expand(-1, -1, self.weights.shape[1]))
        return torch.cat([populations[:, :, None], around], dim=2)

    def turned(self, inputs: Tensor) -> Tensor:
        """The transpose of `inputs`: from (N, C, 1 + S) to (N, C)."""
        return inputs[:, :, 0] + self._sum(inputs[:, :, 1:]).sum(dim=2)

    def matrices(self, padding: Padding, batch: Tensor) -> Tensor:
        """1 and the matrices of the sums, of every structure, (B, 1 + S, n, n)."""
        count, size = padding.index.shape
        place = padding.places(batch)
        row = (batch * size + place)[self.receiver]
        around = segment_sum(self.weights, row * size + place[self.sender], count * size * size)
        around = around.reshape(count, size, size, -1).permute(0, 3, 1, 2)
        return torch.cat([torch.diag_embed(padding.mask.to(around.dtype))[:, None], around], dim=1)

    def _sum(self, values: Tensor) -> Tensor:
        return segment_sum(self.weights[:, None, :] * values[self.sender], self.receiver, values.shape[0])


@dataclass(frozen=True)
class PopulationEnergy:
    """E(x) = sum_i (chi_i q_i + sum_c J_ic x_ic²/2 + e_i(u_i)) + q·A·q / 2, with charges q as the first kind in x.

    Everything is float64.

    Attributes:
        electronegativity: chi in V, (N,).
        hardness: J, positive, eV for each kind squared, (N, C).
        site: e.
        neighbours: From x to u.
        coulomb: A.
    """

    electronegativity: Tensor
    hardness: Tensor
    site: SiteEnergies
    neighbours: NeighbourSums
    coulomb: BoundInteraction

    @property
    def batch(self) -> Tensor:
        """Structure of each atom, (N,)."""
        return self.coulomb.batch

    @property
    def num_structures(self) -> int:
        """B."""
        return self.coulomb.num_structures

    def value(self, x: Tensor) -> Tensor:
        """E in eV, (B,), from x (N, C)."""
        atoms = self.electronegativity * x[:, 0] + 0.5 * (self.hardness * x.square()).sum(dim=1)
        atoms = atoms + self.site.value(self.neighbours.inputs(x))
        return segment_sum(atoms, self.batch, self.num_structures) + self.coulomb.energy(x[:, 0])

    def slope(self, x: Tensor) -> Tensor:
        """dE/dx, (N, C): potentials."""
        slope = self.hardness * x + self.neighbours.turned(self.site.slope(self.neighbours.inputs(x)))
        return slope + self._of_charges(self.electronegativity + self.coulomb.potential(x[:, 0]), x)

    def product(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """From y (N, C) to the product of the second derivatives at x with it."""
        curvature = self.site.curvature(self.neighbours.inputs(x))

        def product(y: Tensor) -> Tensor:
            inputs = self.neighbours.inputs(y)
            bent = (curvature @ inputs.flatten(1)[:, :, None]).reshape(inputs.shape)
            rest = self._of_charges(self.coulomb.potential(y[:, 0]), y)
            return self.hardness * y + self.neighbours.turned(bent) + rest

        return product

    @staticmethod
    def _of_charges(values: Tensor, like: Tensor) -> Tensor:
        """Values (N,) that belong to charges, (N, C)."""
        return torch.nn.functional.pad(values[:, None], (0, like.shape[1] - 1))
