"""The dipole moment of a structure from its ions and Wannier centroids."""

from __future__ import annotations

from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.longrange.multipoles.moments import Moments
from eqff.parts import Fields, Head
from eqff.response.born_charges import born_charges
from eqff.response.totals import total_dipole


class WannierDipole(Head):
    """mu = sum z_i r_i + sum q_i (r_i + d_i), about the origin of the coordinates, of ions z and centroids q.

    This is the exact dipole of the electron density if the centroids are those of its Wannier functions, so centroids
    can be trained on dipoles, and the other way round. Of a periodic structure it depends on which image of each atom
    is given.

    Args:
        born_charges: Whether Z_k,ab = d mu_b / d r_ka are written too; see `eqff.response.born_charges`.
    """

    reads = ("positions", "ion_charges", "centroid_charges", "wannier_displacements")
    writes = ("dipole",)
    after_terms = True  # where centroids are found by a term

    def __init__(self, born_charges: bool = False):
        super().__init__()
        self.differentiates = born_charges
        self.compiles = not born_charges
        if born_charges:
            self.writes = ("dipole", "born_charges")

    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """``dipole`` in e·Å, (B, 3); on demand ``born_charges`` in e, (N, 3, 3)."""
        electrons, dtype = fields["centroid_charges"], graph.positions.dtype
        charges = fields["ion_charges"] + electrons
        dipoles = electrons[:, None] * fields["wannier_displacements"]
        found = {"dipole": total_dipole(graph, Moments(charges, dipoles)).to(dtype)}
        if self.differentiates:
            found["born_charges"] = born_charges(graph, charges, dipoles).to(dtype)
        return found
