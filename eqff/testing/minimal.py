"""The smallest backbone and the smallest term that have everything: for tests of parts, and as examples to copy."""

from __future__ import annotations

import torch
from e3nn import o3
from torch import Tensor, nn

from eqff.data.graph import AtomicGraph
from eqff.nn.reduce import segment_sum
from eqff.parts import Backbone, Fields, Term
from eqff.ranges import Count, Positive


class MinimalBackbone(Backbone):
    """Message passing with scalar messages: h_i^lm = g_l(s_i) sum_j R_l(r_ij) Y_lm(r_ij) s_j.

    Args:
        elements: Atomic numbers covered.
        out_degree: Highest degree l of the features after the last pass.
        channels: Channels of the features.
        num_passes: Passes.
        cutoff: Å.
        num_radial: Radial basis functions.
    """

    reads = ("numbers", "total_charge", "multiplicity")

    def __init__(
        self,
        elements: tuple[int, ...],
        out_degree: int = 0,
        channels: Count = 8,
        num_passes: Count = 2,
        cutoff: Positive = 4.0,
        num_radial: Count = 6,
    ):
        super().__init__()
        self.channels, self.num_passes, self.cutoff = channels, num_passes, cutoff
        self.out_degree = out_degree
        self.species = nn.Embedding(max(elements) + 1, channels)
        self.state = nn.Linear(2, channels, bias=False)
        self.register_buffer("frequencies", torch.arange(1, num_radial + 1) * (torch.pi / cutoff), persistent=False)
        degrees = out_degree + 1
        self.radial = nn.ModuleList(nn.Linear(num_radial, degrees * channels, bias=False) for _ in range(num_passes))
        self.gates = nn.ModuleList(nn.Linear(channels, degrees * channels) for _ in range(num_passes))

    def prepare(self, graph: AtomicGraph) -> tuple[Tensor, Tensor]:
        """Radial basis (E, num_radial), smooth at the cutoff, and spherical harmonics (E, (out_degree + 1)²)."""
        vectors, lengths = graph.local.vectors, graph.local.lengths
        x = (lengths / self.cutoff).clamp(max=1.0)
        envelope = (1 - x**2) ** 3
        bessel = torch.sin(lengths[:, None] * self.frequencies) / lengths[:, None]
        harmonics = o3.spherical_harmonics(list(range(self.out_degree + 1)), vectors, True, "component")
        return bessel * envelope[:, None], harmonics

    def embed(self, graph: AtomicGraph) -> Tensor:
        """Element plus charge and spin of the structure, zero for neutral singlets, (N, 1, channels)."""
        state = self.state(torch.stack([graph.total_charge, graph.multiplicity - 1], dim=-1))
        return (self.species(graph.numbers) + state[graph.batch])[:, None, :]

    def interact(self, index: int, features: Tensor, graph: AtomicGraph, prepared: tuple[Tensor, Tensor]) -> Tensor:
        """One pass; (N, (out_degree + 1)², channels)."""
        basis, harmonics = prepared
        degrees = [l for l in range(self.out_degree + 1) for _ in range(2 * l + 1)]
        scalars = features[:, 0]
        radial = self.radial[index](basis).unflatten(-1, (-1, self.channels))[:, degrees]
        message = harmonics[:, :, None] * radial * scalars[graph.local.sender][:, None, :]
        density = segment_sum(message, graph.local.receiver, graph.num_atoms)
        power = scalars + (density**2).mean(dim=1) + density[:, 0]
        gates = self.gates[index](torch.tanh(power)).unflatten(-1, (-1, self.channels))[:, degrees]
        out = density * gates
        return torch.cat([out[:, :1] + scalars[:, None], out[:, 1:]], dim=1)


class PowerEnergy(Term):
    """E_i = sum over l and channels c of w_lc · mean_m h_lmc²: an energy that reads every feature.

    Args:
        channels: Channels of the backbone.
        degree: Highest degree to read.
    """

    reads = ("features",)

    def __init__(self, channels: int, degree: int):
        super().__init__()
        self.degree = degree
        self.weights = nn.Parameter(torch.randn(degree + 1, channels))

    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """Energies in eV, (N,)."""
        blocks = fields["features"].square().split([2 * l + 1 for l in range(self.degree + 1)], dim=1)
        powers = torch.stack([block.mean(dim=1) for block in blocks], dim=1)
        return {"energy": (powers * self.weights).sum(dim=(1, 2))}
