"""PaiNN: messages of scalars and vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from eqff.data.graph import AtomicGraph
from eqff.errors import ConfigError
from eqff.nn.radial import BesselBasis, cosine_cutoff
from eqff.nn.reduce import segment_sum
from eqff.nn.species import SpeciesIndex
from eqff.nn.state import ChargeSpinEmbedding
from eqff.parts import Backbone
from eqff.ranges import Count, Positive

NORM_FLOOR = 1e-8
"""Added to squared lengths of vector features, so that their norm can be differentiated twice at zero."""


@dataclass(frozen=True)
class Pairs:
    """What all passes read of the geometry.

    Attributes:
        sender: Atom j, (E,).
        receiver: Atom i, (E,).
        basis: Radial basis, zero from the cutoff on, and in the last column the cutoff function, (E, size + 1).
        directions: Unit vectors from i to j, (E, 3).
    """

    sender: Tensor
    receiver: Tensor
    basis: Tensor
    directions: Tensor


class Message(nn.Module):
    """Scalars of neighbours, filtered by distance, make scalars and vectors (eqs. 7 and 8 of the paper).

    Args:
        channels: C.
        radial_size: Basis functions.
        vectors_in: Whether there are vector features already; the first pass has none to send.
    """

    def __init__(self, channels: int, radial_size: int, vectors_in: bool):
        super().__init__()
        self.channels, self.outputs = channels, 3 if vectors_in else 2
        self.network = nn.Sequential(dense(channels, channels), nn.SiLU(), dense(channels, self.outputs * channels))
        # the cutoff's column of the basis carries the bias of the filters
        self.filters = dense(radial_size + 1, self.outputs * channels, bias=False)

    def forward(self, features: Tensor, pairs: Pairs) -> Tensor:
        """From (N, 1 or 4, C) to the sum over neighbours, (N, 4, C)."""
        sent = self.network(features[:, 0])[pairs.sender] * self.filters(pairs.basis)
        weights = sent.split(self.channels, dim=1)
        vectors = pairs.directions[:, :, None] * weights[1][:, None]
        if self.outputs == 3:
            vectors = vectors + features[pairs.sender, 1:] * weights[2][:, None]
        return segment_sum(torch.cat([weights[0][:, None], vectors], dim=1), pairs.receiver, features.shape[0])


class Update(nn.Module):
    """Scalars and vectors of one atom change each other (eqs. 9 and 10 of the paper).

    Args:
        channels: C.
        vectors_out: Whether something reads the vectors afterwards; if not, they are dropped.
    """

    def __init__(self, channels: int, vectors_out: bool):
        super().__init__()
        self.channels, self.outputs = channels, 3 if vectors_out else 2
        self.mix = dense(channels, 2 * channels, bias=False)
        self.network = nn.Sequential(dense(2 * channels, channels), nn.SiLU(), dense(channels, self.outputs * channels))

    def forward(self, features: Tensor) -> Tensor:
        """From (N, 4, C) to (N, 4 or 1, C)."""
        scalars, vectors = features[:, 0], features[:, 1:]
        left, right = self.mix(vectors).split(self.channels, dim=2)
        norm = (right.square().sum(dim=1) + NORM_FLOOR).sqrt()
        gates = self.network(torch.cat([scalars, norm], dim=1)).split(self.channels, dim=1)
        scalars = (scalars + gates[0] + gates[1] * (left * right).sum(dim=1))[:, None]
        if self.outputs == 2:
            return scalars
        return torch.cat([scalars, vectors + gates[2][:, None] * left], dim=1)


class PaiNN(Backbone):
    """The polarizable atom interaction neural network [Schütt, Unke & Gastegger, ICML 2021].

    As in the paper, with its sizes as defaults; besides, charge and spin of the structure enter before every pass, as
    in the flagship. Features are scalars and vectors, so heads and terms on it can read degrees 0 and 1. At the cutoff
    energies and forces are continuous, the slopes of forces are not: so the paper's cutoff function has it.

    Args:
        elements: Atomic numbers covered (offered by the data).
        out_degree: Highest degree that heads and terms read (offered by them), 0 or 1.
        channels: Channels of scalars and of vectors, F in the paper.
        num_passes: Passes.
        cutoff: Å.
        radial_size: Basis functions sin(n π r / cutoff) / r.
        charge_and_spin: Whether total charge and multiplicity enter; neutral singlets are the same either way.

    Raises:
        ConfigError: A higher degree is read than PaiNN has.
    """

    reads = ("numbers", "positions", "total_charge", "multiplicity")

    def __init__(
        self,
        elements: Sequence[int],
        out_degree: int = 0,
        channels: Count = 128,
        num_passes: Count = 3,
        cutoff: Positive = 5.0,
        radial_size: Count = 20,
        charge_and_spin: bool = True,
    ):
        super().__init__()
        if out_degree > 1:
            raise ConfigError(
                f"PaiNN has scalars and vectors, degrees 0 and 1, but a head or term reads degree {out_degree}. Leave "
                "that part out, or take a backbone that goes so high, as model/backbone=equivariant does."
            )
        self.channels, self.num_passes, self.cutoff = channels, num_passes, cutoff
        self.species = SpeciesIndex(elements)
        self.embedding = nn.Parameter(torch.randn(len(elements), channels))
        self.states = None
        if charge_and_spin:
            self.states = nn.ModuleList(ChargeSpinEmbedding(channels) for _ in range(num_passes))
        self.basis = BesselBasis(cutoff, radial_size)
        self.messages = nn.ModuleList(Message(channels, radial_size, index > 0) for index in range(num_passes))
        last = num_passes - 1
        self.updates = nn.ModuleList(Update(channels, index < last or out_degree > 0) for index in range(num_passes))

    def prepare(self, graph: AtomicGraph) -> Pairs:
        """Radial basis and direction of every pair."""
        edges = graph.local
        envelope = cosine_cutoff(edges.lengths, self.cutoff)[:, None]
        basis = torch.cat([self.basis(edges.lengths) * envelope, envelope], dim=1)
        return Pairs(edges.sender, edges.receiver, basis, edges.vectors / edges.lengths[:, None])

    def embed(self, graph: AtomicGraph) -> Tensor:
        """The elements' learned vectors, (N, 1, channels)."""
        return self.embedding[self.species(graph.numbers)][:, None]

    def interact(self, index: int, features: Tensor, graph: AtomicGraph, prepared: Pairs) -> Tensor:
        """Features after pass ``index``, (N, 4 or 1, channels)."""
        if self.states is not None:
            state = self.states[index](features[:, 0], graph.total_charge, graph.multiplicity, graph.batch)
            features = _add(features, state[:, None])
        return self.updates[index](_add(self.messages[index](features, prepared), features))


def dense(size_in: int, size_out: int, bias: bool = True) -> nn.Linear:
    """A linear layer with the initial weights of the paper: Glorot's for the matrix, zero for the bias."""
    layer = nn.Linear(size_in, size_out, bias)
    nn.init.xavier_uniform_(layer.weight)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


def _add(features: Tensor, lower: Tensor) -> Tensor:
    """Adds to the first components."""
    count = lower.shape[1]
    if count == features.shape[1]:
        return features + lower
    return torch.cat([features[:, :count] + lower, features[:, count:]], dim=1)
