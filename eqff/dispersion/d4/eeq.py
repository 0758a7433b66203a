"""The charges that D4's references were made with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.dispersion.tables import rows, table
from eqff.longrange.equilibration import equilibrate
from eqff.longrange.interaction import LatticeInteraction
from eqff.longrange.kernels import GaussianKernel
from eqff.nn.coordination import coordination_numbers, eeq_electronegativity
from eqff.nn.exact import ExactModule
from eqff.units import BOHR, HARTREE

DENSE_UP_TO = 499
"""Atoms of the largest structure of a batch up to which matrices are factorised; below what the
lattice sums put on a mesh, which gives no matrix."""
REACH_MARGIN = 1.06
"""By which the cutoff of neighbours exceeds what Gaussian charges need, because sums fade out before it."""


class EEQCharges(ExactModule):
    """Electronegativity equilibration as D4 has it [Caldeweyher et al., J. Chem. Phys. 150, 154122 (2019)].

    Open structures have all their pairs; periodic ones Ewald's sum, and a uniform background where they are charged. An
    external field does not move these charges: in the published method dispersion knows of none.

    Args:
        elements: Atomic numbers, in the order of the rows.
        accuracy: Of lattice sums.
    """

    electronegativity: Tensor
    hardness: Tensor
    kappa: Tensor
    width: Tensor

    def __init__(self, elements: Sequence[int], accuracy: float):
        super().__init__()
        units = {"electronegativity": HARTREE, "hardness": HARTREE, "kappa": HARTREE, "width": BOHR}
        for name, unit in units.items():
            self.register_buffer(name, rows(table("d4")[f"eeq_{name}"], elements) * unit, persistent=False)
        kernel = GaussianKernel()
        cutoff = max(6.0, REACH_MARGIN * kernel.extent(self.width, accuracy))
        self.interaction = LatticeInteraction(kernel, round(cutoff, 2), accuracy, include_self=True)

    @property
    def neighbour_lists(self) -> dict[str, float]:
        """Those of the Coulomb sums."""
        return self.interaction.neighbour_lists

    def forward(self, graph: AtomicGraph, species: Tensor, bonds: str) -> Tensor:
        """Charges in e, (N,), which sum to the structures' total charges.

        Args:
            graph: The batch.
            species: Rows of the atoms' elements, (N,).
            bonds: The neighbour list that coordination is counted in.

        Raises:
            ModelError: See `equilibrate`.
        """
        coordination = coordination_numbers(graph.edges[bonds], graph.numbers)
        chi = eeq_electronegativity(self.electronegativity[species], self.kappa[species], coordination)
        largest = int(torch.bincount(graph.batch, minlength=1).max())
        return equilibrate(
            graph,
            self.interaction,
            chi,
            self.hardness[species],
            self.width[species],
            field=torch.zeros_like(graph.electric_field),
            iterative=largest > DENSE_UP_TO,
        ).charges
