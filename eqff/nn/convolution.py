"""Convolution of spherical features with spherical harmonics, with learned radial weights for every path."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from eqff.nn.reduce import segment_sum
from eqff.nn.spherical import components, coupling, num_components, paths

SILU_GAIN = 1.6791768074
"""1 / √E[SiLU(x)²] over the normal distribution: keeps the size of values behind a SiLU."""

Path = tuple[int, int, int]
"""Degrees of features, of the spherical harmonic, and of what comes out."""


@dataclass(frozen=True)
class Neighbourhood:
    """What all passes read of the geometry.

    Attributes:
        sender: Atom j, (E,).
        receiver: Atom i, (E,), ascending.
        basis: Radial basis, zero from the cutoff on, (E, size).
        harmonics: Spherical harmonics of the direction from i to j, (E, (L + 1)²).
    """

    sender: Tensor
    receiver: Tensor
    basis: Tensor
    harmonics: Tensor


def convolution_paths(degree_in: int, degree: int, degree_out: int, reflections: bool) -> list[Path]:
    """All (l1, l2, l3), ordered by features, harmonic and result.

    Args:
        degree_in: Of the features.
        degree: Of the harmonics.
        degree_out: Of the result.
        reflections: Whether only those are left that respect reflections, with l1 + l2 + l3 even.
    """
    if reflections:
        return paths(degree_in, degree, degree_out)
    return [
        (l1, l2, l3)
        for l1 in range(degree_in + 1)
        for l2 in range(degree + 1)
        for l3 in range(abs(l1 - l2), min(l1 + l2, degree_out) + 1)
    ]


class SphericalConvolution(nn.Module):
    """Σ_j R_p(r_ij) (x_j ⊗ Y(r̂_ij)): each path and channel with a radial function of its own ("uvu" in e3nn).

    For one edge, all paths that begin at the same degree are one matrix made of harmonics, so that a batched matrix
    product takes the place of a list of Clebsch-Gordan products.

    Args:
        channels: C_l of the features that come in, l = 0, 1, ...
        degree: Highest degree of the harmonics.
        degree_out: Highest degree that comes out.
        radial_size: Functions of the radial basis.
        radial_hidden: Widths of the hidden layers of the radial network.
        reflections: See `convolution_paths`.
    """

    def __init__(
        self,
        channels: Sequence[int],
        degree: int,
        degree_out: int,
        radial_size: int,
        radial_hidden: Sequence[int],
        reflections: bool,
    ):
        super().__init__()
        self.channels = tuple(channels)
        self.paths = convolution_paths(len(channels) - 1, degree, degree_out, reflections)
        by_degree = [[path for path in self.paths if path[0] == l1] for l1 in range(len(channels))]
        self.counts = [len(found) * count for found, count in zip(by_degree, channels, strict=True)]
        self.channels_out = tuple(
            sum(self.channels[l1] for l1, _, l3 in self.paths if l3 == l) for l in range(degree_out + 1)
        )
        self.radial = radial_layers(radial_size, radial_hidden, sum(self.counts))
        for l1, found in enumerate(by_degree):
            matrix, row_path = _matrix(found, l1, degree)
            self.register_buffer(f"matrix{l1}", matrix.to(torch.get_default_dtype()), persistent=False)
            self.register_buffer(f"row_path{l1}", row_path, persistent=False)

    def forward(self, parts: Sequence[Tensor], pairs: Neighbourhood) -> list[Tensor]:
        """From (N, 2l + 1, C_l) for each degree to (N, 2l + 1, paths with this l × channels), a sum over neighbours."""
        num_atoms = parts[0].shape[0]
        summed = []
        for l1, weights in enumerate(self.radial(pairs.basis).split(self.counts, dim=1)):
            matrix, row_path = getattr(self, f"matrix{l1}"), getattr(self, f"row_path{l1}")
            weights = weights.unflatten(1, (-1, self.channels[l1]))
            turned = (pairs.harmonics @ matrix).unflatten(1, (-1, 2 * l1 + 1))
            messages = torch.bmm(turned, parts[l1][pairs.sender]) * weights[:, row_path]
            summed.append(segment_sum(messages, pairs.receiver, num_atoms))
        return [torch.cat(self._of_degree(summed, l), dim=2) for l in range(len(self.channels_out))]

    def _of_degree(self, summed: Sequence[Tensor], degree: int) -> list[Tensor]:
        """The rows of every path that ends at a degree, in the order of paths."""
        found, start = [], [0] * len(summed)
        for l1, _, l3 in self.paths:
            rows = slice(start[l1], start[l1] + 2 * l3 + 1)
            start[l1] = rows.stop
            if l3 == degree:
                found.append(summed[l1][:, rows])
        return found


def radial_layers(size: int, hidden: Sequence[int], outputs: int) -> nn.Sequential:
    """SiLU layers without biases, so that what is zero at the cutoff stays zero; weights of unit variance begin it."""
    layers: list[nn.Module] = []
    sizes = [size, *hidden, outputs]
    for index, (size_in, size_out) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        layer = nn.Linear(size_in, size_out, bias=False)
        nn.init.normal_(layer.weight, std=(SILU_GAIN if index else 1.0) / math.sqrt(size_in))
        layers += [nn.SiLU(), layer] if index else [layer]
    return nn.Sequential(*layers)


def _matrix(found: Sequence[Path], l1: int, degree: int) -> tuple[Tensor, Tensor]:
    """From harmonics to the rows of all paths from degree l1, ((L+1)², rows · (2 l1 + 1)), and each row's path."""
    blocks, row_path = [], []
    for index, (_, l2, l3) in enumerate(found):
        block = torch.zeros(num_components(degree), 2 * l3 + 1, 2 * l1 + 1, dtype=torch.float64)
        block[components(l2)] = coupling(l1, l2, l3).permute(1, 2, 0)
        blocks.append(block)
        row_path += [index] * (2 * l3 + 1)
    return torch.cat(blocks, dim=1).flatten(1), torch.tensor(row_path)
