"""Attention over all atoms of a structure, at a cost that grows linearly with their number."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from eqff.data.graph import AtomicGraph
from eqff.errors import ConfigError
from eqff.exchange.feedback import add_to_scalars
from eqff.nn.reduce import segment_sum
from eqff.parts import Exchange
from eqff.ranges import Count

LENGTH = 3.0
"""Longest query or key. Exponents then stay within some 30, far from where a sum under- or overflows in float32."""


class NonlocalAttention(Exchange):
    """After each pass, scalars grow by a mean over all atoms of the structure, near and far alike [SpookyNet].

    With queries, keys and values from the scalars, a_i = Σ_j φ(q_i)·φ(k_j) v_j / Σ_j φ(q_i)·φ(k_j), where φ are
    positive random features of the kernel exp(q·k) [FAVOR+: Choromanski et al., ICLR 2021]: sums over j are made once
    for a structure [Unke et al., Nat. Commun. 12, 7273 (2021)]. The random directions are orthogonal, drawn from a
    fixed seed and kept in model files. Lengths of queries and keys saturate smoothly at `LENGTH`.

    It is not size-consistent: a mean over all atoms feels whatever else is in the structure, however far it is. With
    ``neutral_singlets=False`` this is so for ions and open shells only.

    Args:
        channels: Channels of the backbone.
        num_passes: Passes of the backbone; each has weights of its own.
        heads: Separate attentions, each on its share of the channels.
        random_features: Size of φ.
        neutral_singlets: Whether atoms of neutral singlets attend too.

    Raises:
        ConfigError: The channels don't divide among the heads.
    """

    reads = ("total_charge", "multiplicity")

    def __init__(
        self,
        channels: int,
        num_passes: int,
        heads: Count = 4,
        random_features: Count = 16,
        neutral_singlets: bool = True,
    ):
        super().__init__()
        if channels % heads:
            raise ConfigError(f"Attention with {heads} heads: {channels} channels can't be divided by {heads}.")
        self.heads, self.neutral_singlets = heads, neutral_singlets
        self.project = nn.ModuleList(nn.Linear(channels, 3 * channels, bias=False) for _ in range(num_passes))
        self.out = nn.ModuleList(nn.Linear(channels, channels, bias=False) for _ in range(num_passes))
        self.register_buffer("directions", orthogonal_directions(random_features, channels // heads))

    def forward(self, index: int, features: Tensor, graph: AtomicGraph) -> tuple[Tensor, dict[str, Tensor]]:
        """New features; no fields."""
        split = self.project[index](features[:, 0]).unflatten(1, (3, self.heads, -1))
        queries, keys, values = split.unbind(dim=1)
        mean = linear_attention(self._kernel(queries), self._kernel(keys), values, graph.batch, graph.num_structures)
        update = self.out[index](mean.flatten(1))
        if not self.neutral_singlets:
            attends = (graph.total_charge != 0) | (graph.multiplicity != 1)
            update = update * attends[graph.batch][:, None]
        return add_to_scalars(features, update), {}

    def _kernel(self, vectors: Tensor) -> Tensor:
        """φ(x) = exp(ω·x - x²/2)/√m for each random direction ω, from (N, H, d) to (N, H, m)."""
        vectors = vectors / torch.sqrt(1.0 + vectors.square().sum(dim=-1, keepdim=True) / LENGTH**2)
        exponents = vectors @ self.directions.T - 0.5 * vectors.square().sum(dim=-1, keepdim=True)
        return torch.exp(exponents) / math.sqrt(self.directions.shape[0])


def linear_attention(queries: Tensor, keys: Tensor, values: Tensor, batch: Tensor, num_structures: int) -> Tensor:
    """Means of values over all atoms of the own structure, weighted by the scalar products of queries and keys.

    Args:
        queries: Positive, (N, H, m).
        keys: Positive, (N, H, m).
        values: (N, H, d).
        batch: Structure of each atom, (N,).
        num_structures: B; structures without atoms are left alone.

    Returns:
        (N, H, d).
    """
    products = segment_sum(keys[..., :, None] * values[..., None, :], batch, num_structures)
    norms = segment_sum(keys, batch, num_structures)
    summed = (queries[..., None, :] @ products[batch])[..., 0, :]
    return summed / (queries * norms[batch]).sum(dim=-1, keepdim=True)


def orthogonal_directions(count: int, size: int) -> Tensor:
    """Vectors distributed as standard normal ones, every ``size`` of them orthogonal, (count, size); always the same.

    Orthogonal ones estimate the kernel with less variance than independent ones.
    """
    generator = torch.Generator().manual_seed(0)
    options = {"generator": generator, "dtype": torch.float64}
    blocks = []
    for _ in range(-(-count // size)):
        rotation, triangle = torch.linalg.qr(torch.randn(size, size, **options))
        blocks.append(rotation * triangle.diagonal().sign())  # without the signs some directions are favoured
    lengths = torch.randn(count, size, **options).norm(dim=1, keepdim=True)
    return (torch.cat(blocks)[:count] * lengths).to(torch.get_default_dtype())
