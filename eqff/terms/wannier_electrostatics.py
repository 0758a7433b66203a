"""The electrostatic energy of ions and Wannier centroids."""

from __future__ import annotations

import torch
from torch import Tensor

from eqff.contributions import coulomb_energy, field_energy
from eqff.data.graph import AtomicGraph
from eqff.longrange.centroids.energy import CentroidEnergy
from eqff.longrange.charged_cells import ChargedCell, charged_cells
from eqff.longrange.gaussian_sites import GaussianSites
from eqff.parts import Fields, Term
from eqff.ranges import Count, InnerShare, Positive
from eqff.response.external_field import acting_field

CHARGES = ("ion_charges", "centroid_charges")


class WannierElectrostatics(Term):
    """E = 1/2 sum_(i≠j) k_e q_i q_j erf(beta r_ij) / r_ij of ions and centroids, and what they have in a uniform field.

    All pairs and images, also an ion with its own centroid; beta = 1/(sqrt(2) width). In periodic structures this is
    DPLR's sum over wave vectors [Zhang et al., J. Chem. Phys. 156, 124107 (2022)] but for a number for each atom: the
    energies of its charges with themselves, and with each other while the centroid lies on the ion, are left out, so
    that an atom by itself has none. dE/dF is minus the dipole of ions and centroids.

    Args:
        width: Å, of the charges exp(-r²/width²); 1.77 is beta = 0.4/Å.
        accuracy: Error of lattice sums, relative to the force between unit charges at 1 Å.
        mesh_from: Periodic structures of this many ions and centroids and more are summed on a mesh.
        charged_cell: "background" or "refuse", as for `eqff.terms.coulomb.Coulomb`.
    """

    reads = ("positions", "electric_field", *CHARGES, "wannier_displacements")
    holds = (*map(coulomb_energy, CHARGES), *map(field_energy, CHARGES))
    level = "structure"
    compiles = False  # which atoms have a charge is looked at

    def __init__(
        self,
        width: Positive = 1.77,
        accuracy: InnerShare = 1e-6,
        mesh_from: Count = 500,
        charged_cell: ChargedCell = "background",
    ):
        super().__init__()
        self.interaction = GaussianSites(width, accuracy, mesh_from)
        self.charged_cells = charged_cells(charged_cell)

    def bind(self, graph: AtomicGraph, fields: Fields) -> CentroidEnergy:
        """The energy as a function of where the centroids are.

        Raises:
            ModelError: A charged periodic structure that is refused.
        """
        energy = CentroidEnergy.of(self.interaction, graph, fields["ion_charges"], fields["centroid_charges"])
        if not graph.open:
            self.charged_cells.check(graph, energy.totals())
        return energy

    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """Energies in eV, (B,).

        Raises:
            ModelError: A charged periodic structure that is refused, or a field along a lattice vector.
        """
        displacements = fields["wannier_displacements"].to(torch.float64)
        positions, cell = graph.positions.to(torch.float64), graph.cell.to(torch.float64)
        return {"energy": self.bind(graph, fields)(displacements, positions, cell, acting_field(graph))}
