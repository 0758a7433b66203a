"""SchNet: continuous-filter convolutions of scalars."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn

from eqff.data.graph import AtomicGraph
from eqff.errors import ConfigError
from eqff.nn.radial import GaussianBasis, polynomial_cutoff
from eqff.nn.reduce import segment_sum
from eqff.nn.species import SpeciesIndex
from eqff.nn.state import ChargeSpinEmbedding
from eqff.parts import Backbone
from eqff.ranges import Count, Positive


@dataclass(frozen=True)
class Pairs:
    """What all passes read of the geometry.

    Attributes:
        sender: Atom j, (E,).
        receiver: Atom i, (E,).
        basis: Radial basis, (E, size).
        envelope: Smooth cutoff, (E, 1).
    """

    sender: Tensor
    receiver: Tensor
    basis: Tensor
    envelope: Tensor


class ShiftedSoftplus(nn.Module):
    """ln(0.5 eˣ + 0.5), the nonlinearity of SchNet: smooth to any order and zero at zero."""

    def forward(self, values: Tensor) -> Tensor:
        """Of any shape."""
        return nn.functional.softplus(values) - math.log(2.0)


class Interaction(nn.Module):
    """Atom-wise layer, continuous-filter convolution, two atom-wise layers; what comes out is added to the features.

    Args:
        channels: C.
        radial_size: Basis functions.
    """

    def __init__(self, channels: int, radial_size: int):
        super().__init__()
        self.filters = nn.Sequential(
            dense(radial_size, channels), ShiftedSoftplus(), dense(channels, channels), ShiftedSoftplus()
        )
        self.before = dense(channels, channels, bias=False)
        self.after = nn.Sequential(dense(channels, channels), ShiftedSoftplus(), dense(channels, channels))

    def forward(self, scalars: Tensor, pairs: Pairs) -> Tensor:
        """From (N, C) to (N, C)."""
        messages = self.before(scalars)[pairs.sender] * (self.filters(pairs.basis) * pairs.envelope)
        return self.after(segment_sum(messages, pairs.receiver, scalars.shape[0]))


class SchNet(Backbone):
    """SchNet [Schütt et al., NeurIPS 2017; J. Chem. Phys. 148, 241722 (2018)].

    Three interactions of 64 channels, shifted softplus, and filters from Gaussians as in the papers. Three things
    differ. The papers reach 30 Å, or cut off hard; here the filters end smoothly at ``cutoff``, without which forces
    would jump. The default of 25 Gaussians within 5 Å has the width of the papers' (exp(-10 Å⁻² d²)) at twice their
    spacing. And charge and spin of the structure enter before every pass, as in the flagship.

    Features are scalars, so heads and terms on it can't read a higher degree.

    Args:
        elements: Atomic numbers covered (offered by the data).
        out_degree: Highest degree that heads and terms read (offered by them); 0.
        channels: Channels of the features, and filters.
        num_passes: Interactions, T in the papers.
        cutoff: Å.
        radial_size: Gaussians.
        charge_and_spin: Whether total charge and multiplicity enter; neutral singlets are the same either way.

    Raises:
        ConfigError: A higher degree is read than SchNet has.
    """

    reads = ("numbers", "positions", "total_charge", "multiplicity")

    def __init__(
        self,
        elements: Sequence[int],
        out_degree: int = 0,
        channels: Count = 64,
        num_passes: Count = 3,
        cutoff: Positive = 5.0,
        radial_size: Annotated[int, Ge(2)] = 25,
        charge_and_spin: bool = True,
    ):
        super().__init__()
        if out_degree > 0:
            raise ConfigError(
                f"SchNet has scalars only, but a head or term reads degree {out_degree}. Leave that part out, or take "
                "a backbone that goes so high: model/backbone=painn for degree 1, model/backbone=equivariant for more."
            )
        self.channels, self.num_passes, self.cutoff = channels, num_passes, cutoff
        self.species = SpeciesIndex(elements)
        self.embedding = nn.Parameter(torch.randn(len(elements), channels))
        self.states = None
        if charge_and_spin:
            self.states = nn.ModuleList(ChargeSpinEmbedding(channels) for _ in range(num_passes))
        self.basis = GaussianBasis(cutoff, radial_size)
        self.interactions = nn.ModuleList(Interaction(channels, radial_size) for _ in range(num_passes))

    def prepare(self, graph: AtomicGraph) -> Pairs:
        """Radial basis of every pair."""
        edges = graph.local
        envelope = polynomial_cutoff(edges.lengths, self.cutoff)[:, None]
        return Pairs(edges.sender, edges.receiver, self.basis(edges.lengths), envelope)

    def embed(self, graph: AtomicGraph) -> Tensor:
        """The elements' learned vectors, (N, 1, channels)."""
        return self.embedding[self.species(graph.numbers)][:, None]

    def interact(self, index: int, features: Tensor, graph: AtomicGraph, prepared: Pairs) -> Tensor:
        """Features after pass ``index``, (N, 1, channels)."""
        scalars = features[:, 0]
        if self.states is not None:
            scalars = scalars + self.states[index](scalars, graph.total_charge, graph.multiplicity, graph.batch)
        return (scalars + self.interactions[index](scalars, prepared))[:, None]


def dense(size_in: int, size_out: int, bias: bool = True) -> nn.Linear:
    """A linear layer with Glorot's initial weights, and zero for the bias."""
    layer = nn.Linear(size_in, size_out, bias)
    nn.init.xavier_uniform_(layer.weight)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer
