"""Charges that flow along bonds: what split-charge equilibration (SQE) and ACKS2 share as heads."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Literal

import torch
from torch import Tensor

from eqff.data.graph import LOCAL, AtomicGraph
from eqff.heads.gaussian_charges import GaussianChargeHead, GaussianParameters
from eqff.longrange.charge_transfer import equilibrate_by_transfer
from eqff.longrange.equilibration import Equilibrated
from eqff.nn.equilibration import LearnedSharing, Readout
from eqff.parts import Fields
from eqff.ranges import Positive, Size

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
        bond_cutoff: Positive,
        initial: Initial = "even",
        hidden: Size = 32,
        **settings: Any,
    ):
        super().__init__(channels, num_passes, elements, hidden, **settings)
        self.bond_cutoff = bond_cutoff
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

    def equilibrated(
        self, graph: AtomicGraph, fields: Fields, parameters: GaussianParameters, options: dict[str, Any]
    ) -> Equilibrated:
        """See `GaussianChargeHead.equilibrated`."""
        softness = self.softness(graph, fields)
        initial = None
        if self.initial is not None and self.sharing is not None:
            read = self.initial(fields["pass_scalars"].flatten(1))
            initial = self.sharing(read.to(torch.float64), graph.total_charge, graph.batch)
        return equilibrate_by_transfer(
            graph, self.interaction, *parameters, graph.local, softness, initial=initial, **options
        )
