"""Ions at atoms and centroids of Wannier functions beside them, and the electrostatic energy of both."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from eqff.data.fields import Field, declare
from eqff.data.graph import AtomicGraph
from eqff.longrange.gaussian_sites import GaussianSites, Sites
from eqff.nn.reduce import segment_sum

declare(Field("ion_charges", "atom", (), "0e", "e", "charge of nucleus and core electrons", "internal"))
declare(Field("centroid_charges", "atom", (), "0e", "e", "charge of the atom's Wannier centroid, 0: none", "internal"))


@dataclass(frozen=True)
class CentroidEnergy:
    """What ions and centroids of a batch have by each other and in a uniform field, wherever the centroids are.

    An atom by itself whose centroid lies on it has no energy: what the two have then, some hundred eV for oxygen and
    always the same, is taken off, as what each charge has with itself.

    Attributes:
        interaction: Of the charges.
        charges: Of the sites, e, (S,) float64.
        atoms: That they belong to, (S,).
        electronic: Whether a site is a centroid, (S,) bool.
        batch: Structure of each site, (S,), ascending.
        apart: What is taken off, eV, (B,).
        pbc: (B, 3) bool.
    """

    interaction: GaussianSites
    charges: Tensor
    atoms: Tensor
    electronic: Tensor
    batch: Tensor
    apart: Tensor
    pbc: Tensor

    @classmethod
    def of(
        cls, interaction: GaussianSites, graph: AtomicGraph, ion_charges: Tensor, centroid_charges: Tensor
    ) -> CentroidEnergy:
        """For the atoms of a batch.

        Args:
            interaction: Of the charges.
            graph: The batch.
            ion_charges: e, (N,); atoms with zero have no ion.
            centroid_charges: e, (N,); atoms with zero have no centroid.
        """
        ions, centroids = ion_charges.nonzero()[:, 0], centroid_charges.nonzero()[:, 0]
        atoms = torch.cat([ions, centroids])
        order = torch.argsort(graph.batch[atoms], stable=True)
        electronic = torch.arange(len(atoms), device=atoms.device) >= len(ions)
        charges = torch.cat([ion_charges[ions], centroid_charges[centroids]]).to(torch.float64)
        atoms = atoms[order]
        own = interaction.contact * ion_charges.to(torch.float64) * centroid_charges.to(torch.float64)
        apart = segment_sum(own, graph.batch, graph.num_structures)
        return cls(interaction, charges[order], atoms, electronic[order], graph.batch[atoms], apart, graph.pbc)

    def sites(self, displacements: Tensor, positions: Tensor) -> Sites:
        """The charges, for ``displacements`` of centroids from their atoms and positions of these, Å, (N, 3)."""
        moved = torch.where(self.electronic[:, None], displacements[self.atoms], 0.0)
        return Sites(self.charges, positions[self.atoms] + moved, self.batch)

    def __call__(self, displacements: Tensor, positions: Tensor, cell: Tensor, field: Tensor | None) -> Tensor:
        """Energies in eV, (B,).

        Args:
            displacements: Of centroids from their atoms, Å, (N, 3) float64; those of atoms without one don't matter.
            positions: Å, (N, 3) float64.
            cell: Å, (B, 3, 3) float64.
            field: Uniform, V/Å, (B, 3); None for none.
        """
        sites = self.sites(displacements, positions)
        energy = self.interaction.energy(sites, cell, self.pbc) - self.apart
        if field is None:
            return energy
        outside = -self.charges * (field[self.batch] * sites.positions).sum(dim=1)
        return energy + segment_sum(outside, self.batch, len(self.pbc))

    def totals(self) -> Tensor:
        """Net charge of each structure in e, (B,)."""
        return segment_sum(self.charges, self.batch, len(self.pbc))
