"""Gaussian charges of one width at points of their own, which need not be atoms."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.longrange.boys import boys
from eqff.longrange.ewald import EwaldSum
from eqff.longrange.mesh import MeshSum
from eqff.longrange.padding import Padding
from eqff.longrange.periodic_sums import bind_by_size
from eqff.longrange.tuning import FADE, Splitting, reach
from eqff.nn.reduce import segment_sum
from eqff.units import COULOMB_CONSTANT


@dataclass(frozen=True)
class Sites:
    """Charges and where they are, float64.

    Attributes:
        charges: e, (S,).
        positions: Å, (S, 3).
        batch: Structure of each, (S,), ascending.
    """

    charges: Tensor
    positions: Tensor
    batch: Tensor


class GaussianSites:
    """E = 1/2 sum_(i≠j) k_e q_i q_j erf(beta r_ij) / r_ij over all pairs and images, of charges exp(-r²/w²).

    beta is 1/(sqrt(2) w). As all widths are the same, the lattice sum over wave vectors that Ewald's method would
    split off is the whole interaction: no neighbours are summed, so charges may be anywhere [DPLR: Zhang et al., J.
    Chem. Phys. 156, 124107 (2022)]. Open structures have all their pairs. A charge has no energy with itself, only
    with its images; a charged crystal has a neutralising background, against which its charges are points.

    Args:
        width: w in Å.
        accuracy: What sums may leave out, as for `eqff.longrange.tuning.Splitting`.
        mesh_from: Periodic structures of this many charges and more are summed on a mesh.
    """

    def __init__(self, width: float, accuracy: float = 1e-6, mesh_from: int = 500):
        self.beta, self.accuracy, self.mesh_from = 1 / (math.sqrt(2) * width), accuracy, mesh_from
        self.splitting = Splitting.of(reach(accuracy) / (FADE * self.beta), accuracy)

    @property
    def contact(self) -> float:
        """Energy of two unit charges that lie on each other, eV/e²."""
        return 2 * COULOMB_CONSTANT * self.beta / math.sqrt(math.pi)

    def energy(self, sites: Sites, cell: Tensor, pbc: Tensor) -> Tensor:
        """Energies in eV, (B,).

        Args:
            sites: The charges.
            cell: Å, (B, 3, 3), float64.
            pbc: (B, 3) bool.
        """
        counts = torch.bincount(sites.batch, minlength=len(pbc))
        pbc = pbc & (counts > 0)[:, None]  # there is no lattice of nothing
        squares = segment_sum(sites.charges.square(), sites.batch, len(pbc))
        energy = -self.beta / math.sqrt(math.pi) * squares  # what each charge has with itself in the sums below
        periodic = pbc.any(dim=1)
        open_structures = (~periodic).nonzero()[:, 0]
        if len(open_structures):
            energy = energy.index_add(0, open_structures, self._all_pairs(sites, open_structures, len(pbc)))
        if bool(periodic.any()):
            for part in self._waves(sites, cell, pbc):
                energy = energy.index_add(0, part.structures, part.energy(sites.charges))
        return COULOMB_CONSTANT * energy

    def _all_pairs(self, sites: Sites, structures: Tensor, num_structures: int) -> Tensor:
        """Of structures (P,) without periodicity, each charge with itself included, e²/Å, (P,)."""
        padding = Padding.of(structures, sites.batch, num_structures)
        places, charges = padding.gather(sites.positions), padding.gather(sites.charges)
        squared = (places[:, :, None] - places[:, None]).square().sum(dim=-1)
        potentials = 2 * self.beta / math.sqrt(math.pi) * boys(self.beta**2 * squared)
        return 0.5 * (charges[:, None] @ potentials @ charges[:, :, None])[:, 0, 0]

    def _waves(self, sites: Sites, cell: Tensor, pbc: Tensor) -> tuple[EwaldSum | MeshSum, ...]:
        none = cell.new_zeros(cell.shape[0])
        points = AtomicGraph(
            numbers=torch.zeros_like(sites.batch),
            positions=sites.positions,
            cell=cell,
            pbc=pbc,
            total_charge=none,
            multiplicity=none + 1,
            batch=sites.batch,
            electric_field=cell.new_zeros(cell.shape[0], 3),
        )
        return bind_by_size(points, EwaldSum, MeshSum, self.mesh_from, self.splitting, self.accuracy)
