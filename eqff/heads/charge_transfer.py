"""Charges that flow along bonds: what split-charge equilibration (SQE) and ACKS2 share as heads."""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal

import torch
from torch import Tensor

from eqff.data.graph import LOCAL, AtomicGraph
from eqff.heads.gaussian_charges import GaussianChargeHead
from eqff.longrange.charge_transfer import equilibrate_by_transfer
from eqff.nn.equilibration import LearnedSharing, Readout
from eqff.parts import Fields

Initial = Literal["even", "learned"]


class ChargeTransferHead(GaussianChargeHead):
    """What SQE and ACKS2 share: Gaussian charges that flow from given ones along the bonds of neighbours.

    Subclasses give the softness of each bond.

    Args:
        bond_cutoff: Å; no bond is longer.
        initial: Where charges flow from: "even", the total charge shared evenly; "learned", charges that are read from
            the environment, with the right total.

    Other arguments are those of `GaussianChargeHead`.
    """

    def __init__(
        self,
        channels: int,
        num_passes: int,
        elements: tuple[int, ...],
        hidden: int,
        hardness: float,
        max_width: float,
        cutoff: float,
        accuracy: float,
        bond_cutoff: float,
        initial: Initial,
        mesh_from: int,
        dense_up_to: int,
        tolerance: float,
        max_iterations: int,
    ):
        super().__init__(channels, num_passes, elements, hidden, hardness, max_width, cutoff, accuracy, mesh_from)
        self.bond_cutoff, self.dense_up_to = bond_cutoff, dense_up_to
        self.tolerance, self.max_iterations = tolerance, max_iterations
        self.sharing, self.initial = None, None
        if initial == "learned":
            self.sharing = LearnedSharing()
            self.initial = Readout(channels * num_passes, self.sharing.outputs, hidden, self.sharing.bias)

    @property
    def neighbour_lists(self) -> dict[str, float]:
        """Those of the Coulomb sum, and the bonds among the neighbours that backbones use too."""
        return self.interaction.neighbour_lists | {LOCAL: self.bond_cutoff}

    @abstractmethod
    def softness(self, graph: AtomicGraph, fields: Fields) -> Tensor:
        """Of each of the local edges, the same in both directions, e²/eV, (E,)."""

    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """``charges`` (N,), what they follow from, and ``equilibration_energy`` (B,).

        Raises:
            ModelError: Conjugate gradients did not converge.
        """
        chi, hardness, widths = self.parameters_of(graph, fields)
        initial = None
        if self.initial is not None and self.sharing is not None:
            read = self.initial(fields["pass_scalars"].flatten(1))
            initial = self.sharing(read.to(torch.float64), graph.total_charge, graph.batch)
        largest = int(torch.bincount(graph.batch, minlength=1).max())
        found = equilibrate_by_transfer(
            graph,
            self.interaction,
            chi,
            hardness,
            widths,
            graph.local,
            self.softness(graph, fields),
            initial=initial,
            iterative=largest > self.dense_up_to,
            tolerance=self.tolerance,
            max_iterations=self.max_iterations,
        )
        return self.written(found, chi, hardness, widths)
