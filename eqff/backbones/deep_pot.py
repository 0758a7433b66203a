"""DeepPot-SE: a smooth descriptor whose functions of distance are learned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from eqff.backbones.element_networks import Activation, ElementNetworks
from eqff.data.graph import AtomicGraph, Edges
from eqff.errors import ConfigError
from eqff.nn.grouped import GroupedLinear, Groups
from eqff.ranges import Count, NonNegative, Positive

Kinds = Literal["pair", "neighbour"]


def switched_inverse(lengths: Tensor, onset: float, cutoff: float) -> Tensor:
    """s(r): 1/r up to the onset, 0 from the cutoff on, with two continuous derivatives, Å⁻¹.

    The polynomial of DeePMD-kit; the paper's cosine has one continuous derivative.

    Args:
        lengths: Å, any shape.
        onset: Å, below the cutoff.
        cutoff: Å.
    """
    x = ((lengths - onset) / (cutoff - onset)).clamp(0.0, 1.0)
    return (1.0 + x**3 * (-10.0 + 15.0 * x - 6.0 * x**2)) / lengths


class EmbeddingNetworks(nn.Module):
    """From s(r) to the embedding of a neighbour, by a network of its element, or of the pair of elements.

    Layers add what they get where widths are equal, and add it twice over where they double (as DeePMD-kit's do).

    Args:
        kinds: Sizes of the axes that number networks.
        widths: Of the layers, the last one of the embedding.
    """

    def __init__(self, kinds: Sequence[int], widths: Sequence[int]):
        super().__init__()
        self.layers = nn.ModuleList(
            GroupedLinear(kinds, before, after) for before, after in zip((1, *widths), widths, strict=False)
        )
        for layer in self.layers:  # else all columns would be multiples of s(r) at first
            nn.init.normal_(layer.bias)

    def forward(self, inverse: Tensor, groups: Groups) -> Tensor:
        """From (E,) to (E, width)."""
        values = inverse[:, None]
        for number, layer in enumerate(self.layers):
            new = torch.tanh(layer(values, groups))
            times, rest = divmod(new.shape[1], values.shape[1])
            adds = number > 0 and rest == 0 and times in (1, 2)
            values = new + torch.cat([values] * times, dim=1) if adds else new
        return values


class DeepPotSE(ElementNetworks):
    """The smooth edition of Deep Potential [Zhang et al., NeurIPS 2018], DeePMD-kit's descriptor se_e2_a.

    An environment is the matrix R with a row s(r) (1, x/r, y/r, z/r) for each neighbour, its embedding the matrix G
    with a row for each, made from s(r). The descriptor is D = Gᵀ R Rᵀ G' / n², where G' are the first columns of G
    and n is the mean number of neighbours. Energies have two continuous derivatives at the cutoff. Fitting
    networks are those of `ElementNetworks`, with residual layers. DeePMD-kit also shifts and scales s(r) by statistics
    of the data, which is not done here.

    Args:
        elements: Atomic numbers covered (offered by the data).
        mean_neighbours: n (offered by the data).
        out_degree: Highest degree that heads and terms read (offered by them); 0.
        channels: Width of the fitting networks' layers.
        num_passes: Their layers.
        cutoff: Å.
        onset: Å, below the cutoff; where s(r) begins to leave 1/r.
        embedding: Widths of the embedding networks.
        axis_columns: Columns of G', no more than those of G.
        networks: "pair": an embedding network for each two elements of atom and neighbour; "neighbour": for each
            element of the neighbour.
        activation: Nonlinearity of the fitting networks.
        charge_and_spin: Whether total charge and multiplicity enter every layer.

    Raises:
        ConfigError: A higher degree is read than there is, or sizes that don't fit together.
    """

    divisor: Tensor

    def __init__(
        self,
        elements: Sequence[int],
        mean_neighbours: float = 16.0,
        out_degree: int = 0,
        channels: Count = 240,
        num_passes: Count = 3,
        cutoff: Positive = 6.0,
        onset: NonNegative = 0.5,
        embedding: tuple[Count, ...] = (25, 50, 100),
        axis_columns: Count = 16,
        networks: Kinds = "pair",
        activation: Activation = "tanh",
        charge_and_spin: bool = True,
    ):
        super().__init__(elements, out_degree, channels, num_passes, activation, True, charge_and_spin)
        _check(cutoff, onset, embedding, axis_columns)
        self.cutoff, self.onset, self.columns = cutoff, onset, axis_columns
        self.by_pair = networks == "pair"
        count = len(elements)
        self.embed_neighbour = EmbeddingNetworks((count, count) if self.by_pair else (count,), embedding)
        self.register_buffer("divisor", torch.tensor(max(float(mean_neighbours), 1.0)))
        # Its bias is that of `ElementNetworks.embed`. Muon leaves what is called species to Adam: this would be too
        # large to orthogonalize at every step.
        self.species_fit = GroupedLinear((count,), embedding[-1] * axis_columns, channels, bias=False)

    def first_layer(self, graph: AtomicGraph, species: Tensor, groups: Groups) -> Tensor:
        """See `ElementNetworks.first_layer`."""
        return self.species_fit(self.descriptor(graph.local, species), groups)

    def descriptor(self, edges: Edges, species: Tensor) -> Tensor:
        """D, (N, columns of G · columns of G').

        Args:
            edges: The local neighbour list.
            species: Index of each atom's element, (N,).
        """
        inverse = switched_inverse(edges.lengths, self.onset, self.cutoff)
        ones = torch.ones_like(inverse)[:, None]
        rows = inverse[:, None] * torch.cat([ones, edges.vectors / edges.lengths[:, None]], dim=1)
        embedded = self.embed_neighbour(inverse, self._kinds(edges, species))
        summed = _over_neighbours(embedded, rows, edges.slots) / self.divisor
        return (summed @ summed[:, : self.columns].transpose(1, 2)).flatten(1)

    def _kinds(self, edges: Edges, species: Tensor) -> Groups:
        count = self.species.size
        index = species[edges.sender]
        if not self.by_pair:
            return Groups.of(index, count)
        return Groups.of(species[edges.receiver] * count + index, count * count)


def _over_neighbours(embedded: Tensor, rows: Tensor, slots: Tensor) -> Tensor:
    """Gᵀ R of each atom, (N, columns, 4), as one batched product on the table of neighbours."""
    embedded, rows = (torch.cat([values, values.new_zeros(1, values.shape[1])])[slots] for values in (embedded, rows))
    return embedded.transpose(1, 2) @ rows


def _check(cutoff: float, onset: float, embedding: Sequence[int], axis_columns: int) -> None:
    if onset >= cutoff:
        raise ConfigError(f"onset is {onset:g} Å, not below the cutoff of {cutoff:g} Å: lower it.")
    if not embedding or axis_columns > embedding[-1]:
        raise ConfigError(
            f"axis_columns is {axis_columns}, but the embedding {list(embedding)} has fewer columns. Lower it, "
            "or make the last layer of the embedding wider."
        )
