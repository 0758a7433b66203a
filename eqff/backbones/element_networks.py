"""What descriptors of environments share as backbones: a network for each element, layer by layer."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from eqff.data.graph import AtomicGraph
from eqff.errors import ConfigError
from eqff.nn.grouped import GroupedLinear, Groups
from eqff.nn.species import SpeciesIndex, species_rows
from eqff.nn.state import ChargeSpinEmbedding
from eqff.parts import Backbone
from eqff.ranges import Count

Activation = Literal["celu", "gelu", "silu", "softplus", "tanh"]
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "celu": lambda: nn.CELU(0.1),
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
}


@dataclass(frozen=True)
class Described:
    """What all passes read of the geometry.

    Attributes:
        first: What the first layer makes of the descriptor, before bias and nonlinearity, (N, channels).
        groups: Atoms by element.
    """

    first: Tensor
    groups: Groups


class ElementNetworks(Backbone):
    """Layers h <- a(W_z h + b_z), with weights of each element z, on a descriptor of the environment.

    Passes are the layers: the first one reads the descriptor, heads and terms read what every layer gives, and
    exchanges run between layers. The networks of one property (an energy, an electronegativity) share all layers but
    their readouts. No layer reads features of neighbours, so an atom sees nothing beyond the cutoff.

    Features are scalars. A subclass gives `first_layer`.

    Args:
        elements: Atomic numbers covered (offered by the data).
        out_degree: Highest degree that heads and terms read (offered by them); 0.
        channels: Width of every layer.
        num_passes: Layers.
        activation: The nonlinearity a.
        residual: Whether layers after the first add to what they get.
        charge_and_spin: Whether total charge and multiplicity enter every layer.

    Raises:
        ConfigError: A higher degree is read than scalars.
    """

    reads = ("numbers", "positions", "total_charge", "multiplicity")

    def __init__(
        self,
        elements: Sequence[int],
        out_degree: int = 0,
        channels: Count = 128,
        num_passes: Count = 3,
        activation: Activation = "silu",
        residual: bool = False,
        charge_and_spin: bool = True,
    ):
        super().__init__()
        if out_degree > 0:
            raise ConfigError(
                f"{type(self).__name__} has scalars only, but a head or term reads degree {out_degree}. Leave that "
                "part out, or take a backbone that goes so high: model/backbone=painn for degree 1, "
                "model/backbone=equivariant for more."
            )
        self.channels, self.num_passes, self.residual = channels, num_passes, residual
        self.species = SpeciesIndex(elements)
        self.embedding = nn.Parameter(0.1 * torch.randn(len(elements), channels))
        self.states = None
        if charge_and_spin:
            self.states = nn.ModuleList(ChargeSpinEmbedding(channels) for _ in range(num_passes))
        self.layers = nn.ModuleList(GroupedLinear((len(elements),), channels, channels) for _ in range(num_passes - 1))
        self.activation = ACTIVATIONS[activation]()

    @abstractmethod
    def first_layer(self, graph: AtomicGraph, species: Tensor, groups: Groups) -> Tensor:
        """Linear maps of the descriptor, one of each element; without bias, (N, channels).

        Args:
            graph: The batch.
            species: Index of each atom's element, (N,).
            groups: Atoms by element.
        """

    def prepare(self, graph: AtomicGraph) -> Described:
        """The descriptor of every atom, as the first layer sees it."""
        species = self.species(graph.numbers)
        groups = Groups.of(species, self.species.size)
        return Described(self.first_layer(graph, species, groups), groups)

    def embed(self, graph: AtomicGraph) -> Tensor:
        """The bias of the first layer, (N, 1, channels)."""
        return species_rows(self.embedding, self.species(graph.numbers))[:, None]

    def interact(self, index: int, features: Tensor, graph: AtomicGraph, prepared: Described) -> Tensor:
        """Features after layer ``index``, (N, 1, channels)."""
        scalars = features[:, 0]
        if self.states is not None:
            scalars = scalars + self.states[index](scalars, graph.total_charge, graph.multiplicity, graph.batch)
        if index == 0:
            return self.activation(scalars + prepared.first)[:, None]
        new = self.activation(self.layers[index - 1](scalars, prepared.groups))
        return (scalars + new if self.residual else new)[:, None]
