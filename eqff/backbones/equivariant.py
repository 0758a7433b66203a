"""The flagship: E(3)-equivariant message passing with many-body products."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Interval
from torch import Tensor, nn

from eqff.data.graph import AtomicGraph
from eqff.errors import ConfigError
from eqff.kernels.choice import fused
from eqff.kernels.messages import EdgeOrder
from eqff.nn.gate import Gate
from eqff.nn.linear import DegreeLinear
from eqff.nn.many_body import ManyBodyProduct
from eqff.nn.radial import BASES, polynomial_cutoff, radial_network
from eqff.nn.species import SpeciesIndex, species_rows
from eqff.nn.spherical import SphericalHarmonics, num_components
from eqff.nn.state import ChargeSpinEmbedding
from eqff.nn.symmetric_product import SymmetricProduct
from eqff.nn.tensor_product import NeighbourTensorProduct
from eqff.parts import Backbone
from eqff.ranges import Count, Positive, Size

PRODUCTS = {"mixed": ManyBodyProduct, "symmetric": SymmetricProduct}


@dataclass(frozen=True)
class Neighbourhoods:
    """What all passes read of the geometry.

    Neighbours stand in a table of K places for each atom, empty ones with zero ``envelope``; where fused operations run
    they stand in a list of edges, E instead of N, K below.

    Attributes:
        species: Element index of each atom, (N,).
        sender: Neighbour in each place, (N, K).
        basis: Radial basis, (N, K, size).
        envelope: Smooth cutoff over the mean number of neighbours, (N, K, 1).
        harmonics: Spherical harmonics, (N, K, (degree + 1)²).
        order: Of the edges in the list, from the atoms whose features they carry; None for the table.
    """

    species: Tensor
    sender: Tensor
    basis: Tensor
    envelope: Tensor
    harmonics: Tensor
    order: EdgeOrder | None = None


class InteractionPass(nn.Module):
    """One pass: message, sum over neighbours, many-body product, residual, gate.

    Degrees: h comes with ``degree_in`` and leaves with ``degree_out``; the sum over neighbours has ``degree``, as far
    as something reads it.
    """

    def __init__(
        self,
        channels: int,
        num_species: int,
        degrees: tuple[int, int, int],
        order: int,
        radial: tuple[int, int],
        strictly_local: bool,
        products: str,
    ):
        super().__init__()
        degree_in, degree, degree_out = degrees
        summed = degree if order > 1 else degree_out
        self.channels, self.strictly_local = channels, strictly_local
        self.up = DegreeLinear(degree_in, channels, channels)
        self.product = NeighbourTensorProduct(degree_in, degree, summed)
        self.num_paths = len(self.product.paths)
        self.radial = radial_network(*radial, channels + self.num_paths)
        self.path_bias = nn.Parameter(torch.ones(self.num_paths)) if self.num_paths else None
        self.many_body = PRODUCTS[products](summed, degree_out, channels, order, num_species)
        self.residual_degree = min(degree_in, degree_out)
        self.residual = DegreeLinear(self.residual_degree, channels, channels)
        self.residual_species = nn.Parameter(torch.ones(num_species, channels))
        self.gate = Gate(degree_out, channels)
        self.sender_species = nn.Parameter(torch.randn(num_species, channels)) if strictly_local else None

    def forward(self, features: Tensor, near: Neighbourhoods) -> Tensor:
        """From (N, (degree_in + 1)², C) to (N, (degree_out + 1)², C)."""
        radial = self.radial(near.basis)
        channel_weights = radial[..., : self.channels] * near.envelope
        path_weights = radial[..., self.channels :] + self.path_bias if self.num_paths else None
        mixed = self.up(features)
        if near.order is not None:
            if self.strictly_local:
                channel_weights = channel_weights * self.sender_species[near.species[near.sender]]
            summed = self.product.along_edges(mixed, near.harmonics, channel_weights, path_weights, near.order)
        else:
            summed = self.product(self._sent(mixed, near), near.harmonics, channel_weights, path_weights)
        updated = self.gate(self.many_body(summed, near.species))
        kept = (
            features[:, : num_components(self.residual_degree)]
            * species_rows(self.residual_species, near.species)[:, None]
        )
        return _add(updated, self.residual(kept))

    def _sent(self, mixed: Tensor, near: Neighbourhoods) -> Tensor:
        """Features in each place of the table, (N, K, (degree_in + 1)², C)."""
        if self.strictly_local:  # messages carry the receiver's own features, so nothing beyond the cutoff comes in
            return mixed[:, None] * self.sender_species[near.species[near.sender]][:, :, None]
        return mixed[near.sender]


class EquivariantMessagePassing(Backbone):
    """E(3)-equivariant message passing with many-body products, the flagship.

    Ideas from NequIP (tensor products with learned radial weights), ACE and MACE (many-body products of neighbour
    sums), SpookyNet (charge and spin as input). Only degrees that something reads are computed: the first pass sees
    scalars, the last gives ``out_degree``.

    Args:
        elements: Atomic numbers covered (offered by the data).
        mean_neighbours: Mean number of neighbours within the cutoff (offered by the data).
        out_degree: Highest degree that heads and terms read (offered by them).
        channels: Channels of each degree.
        num_passes: Passes.
        cutoff: Å.
        degree: Highest degree L of the spherical harmonics and neighbour sums, 0 to 4.
        hidden_degree: Highest degree of the features between passes, 0 to L.
        order: Factors of the many-body products, 1 to 3.
        radial_basis: "bessel" or "gaussian".
        radial_size: Basis functions.
        radial_hidden: Width of the radial networks; 0 for linear combinations of the basis.
        charge_and_spin: Whether total charge and multiplicity enter; neutral singlets are the same either way.
        strictly_local: Whether an atom's features depend on nothing beyond one cutoff.
        products: "mixed": factors are different linear images of the neighbour sums; "symmetric": powers of one image,
            as in MACE, a third of the matrix products.

    Raises:
        ConfigError: A setting out of its range.
    """

    reads = ("numbers", "positions", "total_charge", "multiplicity")

    def __init__(
        self,
        elements: Sequence[int],
        mean_neighbours: float,
        out_degree: int = 0,
        channels: Count = 64,
        num_passes: Annotated[int, Interval(ge=1, le=20)] = 2,
        cutoff: Positive = 5.0,
        degree: Annotated[int, Interval(ge=0, le=4)] = 2,
        hidden_degree: Size = 1,
        order: Annotated[int, Interval(ge=1, le=3)] = 3,
        radial_basis: Literal["bessel", "gaussian"] = "bessel",
        radial_size: Count = 8,
        radial_hidden: Size = 32,
        charge_and_spin: bool = True,
        strictly_local: bool = False,
        products: Literal["mixed", "symmetric"] = "mixed",
    ):
        super().__init__()
        _check_degrees(degree, hidden_degree, out_degree)
        self.channels, self.num_passes, self.cutoff = channels, num_passes, cutoff
        self.strictly_local = strictly_local
        self.mean_neighbours = max(float(mean_neighbours), 1.0)
        self.species = SpeciesIndex(elements)
        self.embedding = nn.Parameter(torch.randn(len(elements), channels))
        self.states = None
        if charge_and_spin:
            self.states = nn.ModuleList(ChargeSpinEmbedding(channels) for _ in range(num_passes))
        self.basis = BASES[radial_basis](cutoff, radial_size)
        self.harmonics = SphericalHarmonics(degree)
        between = [0] + [hidden_degree] * (num_passes - 1) + [out_degree]
        self.passes = nn.ModuleList(
            InteractionPass(
                channels,
                len(elements),
                (degree_in, degree, degree_out),
                order,
                (radial_size, radial_hidden),
                strictly_local,
                products,
            )
            for degree_in, degree_out in zip(between[:-1], between[1:], strict=True)
        )

    def prepare(self, graph: AtomicGraph) -> Neighbourhoods:
        """Radial basis and spherical harmonics of every neighbour."""
        return self._list(graph) if fused(graph.positions) else self._table(graph)

    def _list(self, graph: AtomicGraph) -> Neighbourhoods:
        edges = graph.local
        # strictly local messages carry the features of the receiver
        source = edges.receiver if self.strictly_local else edges.sender
        return Neighbourhoods(
            species=self.species(graph.numbers),
            sender=edges.sender,
            basis=self.basis(edges.lengths),
            envelope=polynomial_cutoff(edges.lengths, self.cutoff)[:, None] / self.mean_neighbours,
            harmonics=self.harmonics(edges.vectors / edges.lengths[:, None]),
            order=EdgeOrder.of(edges.receiver, source, graph.num_atoms),
        )

    def _table(self, graph: AtomicGraph) -> Neighbourhoods:
        edges, last = graph.local, graph.local.sender.shape[0] - 1
        filled = (edges.slots <= last)[..., None]
        slots = edges.slots.clamp(max=last)
        beyond = torch.tensor([self.cutoff, 0.0, 0.0], dtype=graph.positions.dtype, device=graph.positions.device)
        vectors = torch.where(filled, edges.vectors[slots], beyond)
        lengths = torch.linalg.vector_norm(vectors, dim=-1)
        envelope = torch.where(filled, polynomial_cutoff(lengths, self.cutoff)[..., None], 0.0)
        return Neighbourhoods(
            species=self.species(graph.numbers),
            sender=edges.sender[slots],
            basis=self.basis(lengths),
            envelope=envelope / self.mean_neighbours,
            harmonics=self.harmonics(vectors / lengths[..., None]),
        )

    def embed(self, graph: AtomicGraph) -> Tensor:
        """The elements' learned vectors, with the charge and spin of the structure, (N, 1, channels)."""
        return self._with_state(0, species_rows(self.embedding, self.species(graph.numbers))[:, None], graph)

    def interact(self, index: int, features: Tensor, graph: AtomicGraph, prepared: Neighbourhoods) -> Tensor:
        """Features after pass ``index``."""
        if index:
            features = self._with_state(index, features, graph)
        return self.passes[index](features, prepared)

    def _with_state(self, index: int, features: Tensor, graph: AtomicGraph) -> Tensor:
        if self.states is None:
            return features
        state = self.states[index](features[:, 0], graph.total_charge, graph.multiplicity, graph.batch)
        return _add(features, state[:, None])


def _add(features: Tensor, lower: Tensor) -> Tensor:
    """Adds features of a lower degree to the first components."""
    count = lower.shape[1]
    if count == features.shape[1]:
        return features + lower
    first, others = features.split((count, features.shape[1] - count), dim=1)
    return torch.cat([first + lower, others], dim=1)


def _check_degrees(degree: int, hidden_degree: int, out_degree: int) -> None:
    for name, value in {"hidden_degree": hidden_degree, "out_degree": out_degree}.items():
        if not 0 <= value <= degree:
            raise ConfigError(f"model.backbone.{name} is {value}; it can be 0 to {degree} here, the backbone's degree.")
