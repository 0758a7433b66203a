"""From pairs to matrices of 3 × 3 blocks, one for each sample of a structure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.dispersion.all_pairs import AllPairs
from eqff.dispersion.mbd.sampling import Samples
from eqff.longrange.padding import Padding
from eqff.nn.reduce import segment_sum


@dataclass(frozen=True)
class BlockLayout:
    """Where the blocks of pairs stand in the padded matrices of M samples.

    Attributes:
        samples: M of them.
        padding: The atoms of each sample, M rows of n places.
        pair: Pair of each block, (F,).
        place: Where the block stands among M · n · n, (F,).
        phase: exp(2 pi i q·shift) of each block, (F,); None where every q is zero.
    """

    samples: Samples
    padding: Padding
    pair: Tensor
    place: Tensor
    phase: Tensor | None

    @classmethod
    def of(cls, graph: AtomicGraph, pairs: AllPairs, samples: Samples) -> BlockLayout:
        """The layout of those pairs that belong to structures of the samples."""
        padding = Padding.of(samples.structure, graph.batch, graph.num_structures)
        counts = torch.bincount(samples.structure, minlength=graph.num_structures)
        repeats = counts[graph.batch[pairs.receiver]]
        pair = torch.repeat_interleave(torch.arange(len(repeats), device=repeats.device), repeats)
        nth = torch.arange(len(pair), device=pair.device) - (repeats.cumsum(0) - repeats)[pair]
        sample = (counts.cumsum(0) - counts)[graph.batch[pairs.receiver[pair]]] + nth
        first = _first_atoms(graph)
        size = padding.index.shape[1]
        row = pairs.receiver[pair] - first[pairs.receiver[pair]]
        column = pairs.sender[pair] - first[pairs.sender[pair]]
        phase = None
        if not samples.at_origin:
            turns = 2 * torch.pi * (samples.fractions[sample] * pairs.shift[pair]).sum(dim=1)
            phase = torch.polar(torch.ones_like(turns), turns)
        return cls(samples, padding, pair, (sample * size + row) * size + column, phase)

    def assemble(self, blocks: Tensor) -> Tensor:
        """Sums blocks (E, ..., 3, 3) of pairs into matrices (M, ..., 3n, 3n)."""
        size, inner = self.padding.index.shape[1], blocks.shape[1:-2]
        chosen = blocks[self.pair].flatten(1)
        if self.phase is not None:
            chosen = chosen * self.phase[:, None]
        summed = segment_sum(chosen, self.place, len(self.samples) * size * size)
        summed = summed.reshape(len(self.samples), size, size, math.prod(inner), 3, 3).permute(0, 3, 1, 4, 2, 5)
        return summed.reshape((len(self.samples),) + inner + (3 * size, 3 * size))

    def gather(self, values: Tensor, empty: float) -> Tensor:
        """Values of atoms (N, ...), for each component of their dipoles, (M, 3n, ...), ``empty`` where no atom is."""
        table = self.padding.gather(values)
        mask = self.padding.mask.reshape(self.padding.mask.shape + (1,) * (values.dim() - 1))
        return torch.where(mask, table, empty).repeat_interleave(3, dim=1)

    @property
    def taken(self) -> Tensor:
        """1 for each component of an atom's dipole, 0 in empty places, (M, 3n)."""
        return self.padding.mask.repeat_interleave(3, dim=1).to(torch.float64)


def _first_atoms(graph: AtomicGraph) -> Tensor:
    """The first atom of each atom's structure, (N,)."""
    counts = torch.bincount(graph.batch, minlength=graph.num_structures)
    return (counts.cumsum(0) - counts)[graph.batch]
