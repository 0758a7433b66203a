"""Neutral spin equilibration inside of the message passing."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from eqff.data.graph import AtomicGraph
from eqff.exchange.feedback import Feedback
from eqff.nn.equilibration import SpinChannels
from eqff.parts import Exchange, Fields
from eqff.ranges import Positive, Size


class NeutralSpinEquilibration(Exchange):
    """After each pass, charges of both spin channels with exact totals, which the next pass sees [AIMNet-NSE].

    From the scalars, each atom gets a charge and a weight in each spin channel; what the channels lack to
    Q^α = (Q - n_u)/2 and Q^β = (Q + n_u)/2 is shared out by the weights. Charges q = q^α + q^β and spin charges
    s = q^β - q^α then change the scalars [Zubatyuk et al., Nat. Commun. 12, 4870 (2021)]. Equations, singlets and
    limits: docs/charges_and_spins.md.

    It is not size-consistent: what one fragment lacks is shared out over all of a structure.

    Args:
        channels: Channels of the backbone.
        num_passes: Passes of the backbone; each has weights of its own.
        hidden: Width of the nonlinear readout; 0 for a linear one alone.
        broken_symmetry: Whether singlets may have spin charges (which sum to zero); else they are exactly zero.
        increments: Whether a pass reads changes of the charges of the pass before, as in AIMNet2 [Anstine et al.,
            Chem. Sci. 16, 10228 (2025)], or the charges themselves.
        scale: e; times what is read: fresh models begin near neutral atoms, and charges change in small steps.
    """

    reads = ("total_charge", "multiplicity")
    writes = ("charges", "spin_charges")
    reads_previous = True

    def __init__(
        self,
        channels: int,
        num_passes: int,
        hidden: Size = 32,
        broken_symmetry: bool = False,
        increments: bool = False,
        scale: Positive = 0.1,
    ):
        super().__init__()
        self.increments = increments
        self.spin_channels = nn.ModuleList(
            SpinChannels(channels, hidden, broken_symmetry, scale) for _ in range(num_passes)
        )
        self.feedback = nn.ModuleList(Feedback(channels, 2) for _ in range(num_passes))

    def forward(
        self, index: int, features: Tensor, graph: AtomicGraph, previous: Fields
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """New features; ``charges`` in e and ``spin_charges``, (N,) each."""
        before = (previous["charges"], previous["spin_charges"]) if self.increments and previous else None
        charges, spins = self.spin_channels[index](
            features[:, 0], graph.total_charge, graph.multiplicity, graph.batch, before
        )
        features = self.feedback[index](features, torch.stack([charges, spins], dim=1))
        return features, {"charges": charges, "spin_charges": spins}
