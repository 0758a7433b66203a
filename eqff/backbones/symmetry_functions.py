"""Atom-centred symmetry functions: sums over neighbours and over pairs of neighbours, for each element and pair."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from eqff.backbones.element_networks import ElementNetworks
from eqff.backbones.uniform_gas import angular_deviation, radial_deviation
from eqff.data.graph import AtomicGraph, Edges
from eqff.errors import ConfigError
from eqff.nn.grouped import Groups, grouped_map
from eqff.nn.reduce import segment_sum
from eqff.nn.triples import Triples

DENSITY = 0.1
"""Atoms in Å³, as in water and other molecular matter; for the scale of functions."""

NOTHING = 1e-7
"""Deviation of functions that are as good as zero; useful ones have 0.01 and more."""

ANGLES = "angles"
"""Name of the neighbour list that triples are found in, shorter than that of pairs."""


class RadialFunctions(Protocol):
    """Functions of one distance, zero from the cutoff on."""

    cutoff: float
    size: int

    def __call__(self, lengths: Tensor) -> Tensor:
        """From (E,) in Å to (E, size)."""


class AngularFunctions(Protocol):
    """Functions of two distances and the angle between them, without the cutoff function of the two."""

    cutoff: float
    size: int

    def envelope(self, lengths: Tensor) -> Tensor:
        """The cutoff function of each of the two distances, of any shape."""

    def __call__(self, first: Tensor, second: Tensor, cosine: Tensor, across: Tensor) -> Tensor:
        """From both lengths (Å), the cosine and the squared third side (Å²), (T,) each, to (T, size)."""


class SymmetryFunctions(nn.Module):
    """The vector of an atom's environment: for each element the sums of radial functions over neighbours of it, then
    for each pair of elements the sums of angular functions over pairs of neighbours of these.

    Elements and pairs are in the order of `torch.triu_indices`: (a, a), (a, b), ..., (b, b), ... Every pair of
    neighbours counts once. Time and memory grow with the number of pairs of neighbours.

    Args:
        num_elements: S.
        radial: Of one distance.
        angular: Of two distances and an angle.

    Attributes:
        pairs: Number of the pair of each two elements, (S, S).
        upper: Places of all pairs in such a table, flattened.
    """

    pairs: Tensor
    upper: Tensor

    def __init__(self, num_elements: int, radial: RadialFunctions, angular: AngularFunctions):
        super().__init__()
        self.radial, self.angular, self.num_elements = radial, angular, num_elements
        first, second = torch.triu_indices(num_elements, num_elements)
        self.num_pairs = len(first)
        pairs = torch.zeros(num_elements, num_elements, dtype=torch.int64)
        pairs[first, second] = pairs[second, first] = torch.arange(self.num_pairs)
        self.register_buffer("pairs", pairs, persistent=False)
        self.register_buffer("upper", first * num_elements + second, persistent=False)

    @property
    def size(self) -> int:
        """Length of the vector."""
        return self.num_elements * self.radial.size + self.num_pairs * self.angular.size

    def forward(self, graph: AtomicGraph, species: Tensor) -> Tensor:
        """The vectors, (N, size).

        Args:
            graph: With the lists `LOCAL` and `ANGLES`.
            species: Index of each atom's element, (N,).
        """
        return torch.cat([self._pairs(graph.local, species), self._triples(graph.edges[ANGLES], species)], dim=1)

    def _pairs(self, edges: Edges, species: Tensor) -> Tensor:
        """Sums over neighbours, (N, S · radial size)."""
        atoms = species.shape[0]
        index = edges.receiver * self.num_elements + species[edges.sender]
        return segment_sum(self.radial(edges.lengths), index, atoms * self.num_elements).view(atoms, -1)

    def _triples(self, edges: Edges, species: Tensor) -> Tensor:
        """Sums over pairs of neighbours, (N, pairs · angular size)."""
        atoms, triples = species.shape[0], Triples.of(edges, self.angular.cutoff)
        # empty places of padded triples stand for an edge whose envelope is zero
        lengths = torch.cat([edges.lengths, edges.lengths.new_ones(1)])
        directions = torch.cat([edges.vectors / edges.lengths[:, None], edges.vectors.new_zeros(1, 3)])
        envelope = torch.cat([self.angular.envelope(edges.lengths), edges.lengths.new_zeros(1)])
        kinds = torch.cat([species[edges.sender], edges.sender.new_zeros(1)])
        one, two = triples.first, triples.second
        first, second = lengths[one], lengths[two]
        cosine = (directions[one] * directions[two]).sum(dim=1)
        across = first.square() + second.square() - 2 * first * second * cosine
        values = self.angular(first, second, cosine, across) * (envelope[one] * envelope[two])[:, None]
        index = triples.atom * self.num_pairs + self.pairs[kinds[one], kinds[two]]
        return segment_sum(values, index, atoms * self.num_pairs).view(atoms, -1)


class SymmetryFunctionNetworks(ElementNetworks):
    """A network for each element on symmetry functions.

    The published networks read functions as they are (ANI) or scaled by their range in the data (Behler-Parrinello).
    Here each is divided by its standard deviation in a gas that is as dense as water: so those that few neighbours
    reach are of the same size as others, whatever the data are.

    Args:
        elements: Atomic numbers covered (offered by the data).
        radial: Of one distance; its cutoff is that of the backbone.
        angular: Of two distances and an angle.

    Other arguments are those of `ElementNetworks`.

    Raises:
        ConfigError: The angular cutoff is longer than the radial one, or a function is zero within its cutoff.
    """

    radial_factors: Tensor
    angular_factors: Tensor

    def __init__(
        self,
        elements: Sequence[int],
        radial: RadialFunctions,
        angular: AngularFunctions,
        **settings: Any,
    ):
        super().__init__(elements, **settings)
        if angular.cutoff > radial.cutoff:
            raise ConfigError(
                f"angular_cutoff is {angular.cutoff:g} Å, beyond the cutoff of {radial.cutoff:g} Å: pairs of "
                "neighbours can't reach further than neighbours. Lower it, or raise cutoff."
            )
        self.cutoff, count = radial.cutoff, len(elements)
        self.functions = SymmetryFunctions(count, radial, angular)
        self.register_buffer("radial_factors", _inverse(radial_deviation(radial, DENSITY), "one distance"))
        self.register_buffer("angular_factors", _inverse(angular_deviation(angular, DENSITY), "angles"))
        # An axis for each element that is named: fine-tuning adds rows of new ones along all of them. Muon leaves what
        # is called species to Adam: these would be too many matrices to orthogonalize at every step.
        bound = 1 / math.sqrt(radial.size + angular.size)  # a neighbour is seen by the functions of its element alone
        self.species_radial = nn.Parameter(bound * torch.randn(count, count, radial.size, self.channels))
        self.species_angular = nn.Parameter(bound * torch.randn(count, count, count, angular.size, self.channels))

    @property
    def neighbour_lists(self) -> dict[str, float]:
        """The local list, and a shorter one for angles."""
        return {**super().neighbour_lists, ANGLES: self.functions.angular.cutoff}

    def first_layer(self, graph: AtomicGraph, species: Tensor, groups: Groups) -> Tensor:
        """See `ElementNetworks.first_layer`."""
        return grouped_map(self.functions(graph, species), self.matrices(), groups)

    def matrices(self) -> Tensor:
        """The first layer's matrix of each element, (S, size of the vector, channels)."""
        angular = self.angular_factors * self.species_angular
        both = (angular + angular.transpose(1, 2)).flatten(1, 2) / math.sqrt(2)  # pairs have no order
        of_neighbours = (self.radial_factors * self.species_radial).flatten(1, 2)
        of_pairs = both.index_select(1, self.functions.upper).flatten(1, 2)
        return torch.cat([of_neighbours, of_pairs], dim=1)


def _inverse(deviation: Tensor, what: str) -> Tensor:
    """What functions are multiplied with, (size, 1)."""
    if zero := (deviation < NOTHING).nonzero()[:, 0].tolist():
        raise ConfigError(
            f"Of the functions of {what}, numbers {zero} (from 0) are zero at all distances within the cutoff: choose "
            "other exponents and shifts."
        )
    return 1 / deviation[:, None]
