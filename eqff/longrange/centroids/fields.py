"""Electric fields at Wannier centroids, as derivatives of the energy, and how they change as centroids move."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from eqff.longrange.centroids.energy import CentroidEnergy


@dataclass(frozen=True)
class CentroidFields:
    """Effective fields: of all Gaussian charges and from outside, averaged over the charge of a centroid.

    Attributes:
        energy: Of the charges.
        inverse: One by the charge of each atom's centroid, 1/e, (N, 1) float64; zero where there is none.
    """

    energy: CentroidEnergy
    inverse: Tensor

    @classmethod
    def of(cls, energy: CentroidEnergy, centroid_charges: Tensor) -> CentroidFields:
        """For ``centroid_charges`` in e, (N,)."""
        charges = centroid_charges.to(torch.float64)[:, None]
        return cls(energy, torch.where(charges != 0, 1 / torch.where(charges != 0, charges, 1.0), 0.0))

    def at(self, displacements: Tensor, positions: Tensor, cell: Tensor, field: Tensor) -> Tensor:
        """E in V/Å, (N, 3): minus the energy's derivative by where a centroid is, by its charge. Differentiable.

        Arguments are those of `CentroidEnergy`.
        """
        again = torch.is_grad_enabled()
        with torch.enable_grad():
            here = _place(displacements)
            energy = self.energy(here, positions, cell, field).sum()
            (slope,) = torch.autograd.grad(energy, here, create_graph=again)
        return -slope * self.inverse

    def change(self, dipoles: Tensor, displacements: Tensor, positions: Tensor, cell: Tensor) -> Tensor:
        """T mu in V/Å, (N, 3): how E changes as centroids move by mu over their charges, mu (N, 3). Differentiable."""
        again = torch.is_grad_enabled()
        with torch.enable_grad():
            here = _place(displacements)
            energy = self.energy(here, positions, cell, None).sum()
            (slope,) = torch.autograd.grad(energy, here, create_graph=True)
            (image,) = torch.autograd.grad(slope, here, dipoles * self.inverse, create_graph=again)
        return -image * self.inverse

    def tangent(
        self, displacements: Tensor, positions: Tensor, cell: Tensor, field: Tensor
    ) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """E, and mu -> T mu to be applied many times, at one place and without derivatives."""
        with torch.enable_grad():
            here = displacements.detach().requires_grad_()
            energy = self.energy(here, positions.detach(), cell.detach(), field.detach()).sum()
            (slope,) = torch.autograd.grad(energy, here, create_graph=True)

        def change(dipoles: Tensor) -> Tensor:
            (image,) = torch.autograd.grad(slope, here, dipoles * self.inverse, retain_graph=True)
            return -image * self.inverse

        return -slope.detach() * self.inverse, change


def _place(displacements: Tensor) -> Tensor:
    """The same values as a variable of their own: what they were computed from does not count."""
    return displacements.view_as(displacements) if displacements.requires_grad else _leaf(displacements)


def _leaf(displacements: Tensor) -> Tensor:
    return displacements.detach().requires_grad_()
