"""Triples of atoms, each once, images included, found piece by piece."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from eqff.data.graph import Edges
from eqff.dispersion.cutoffs import Cutoff


@dataclass(frozen=True)
class TripleSource:
    """Two edges of one list that share their receiver, which holds the lowest place of a triple.

    A triple of atoms (i; j, k), i in the first cell, is found from the edges to j and to k, with the numbers of the
    atoms i >= j >= k and j's edge after k's in the list. Images of one atom are found more than once, or not in both
    orders, which the weights mend.

    Attributes:
        sender: Of the kept edges, sorted by receiver and then sender, (E,).
        receiver: Likewise.
        vectors: Å, (E, 3), float64.
        lengths: Å, (E,), float64.
        before: How many kept edges of the same receiver come before each, (E,).
    """

    sender: Tensor
    receiver: Tensor
    vectors: Tensor
    lengths: Tensor
    before: Tensor

    @classmethod
    def of(cls, edges: Edges, cutoff: Cutoff, num_atoms: int) -> TripleSource:
        """From a list that reaches at least as far as the cutoff."""
        with torch.no_grad():
            reached = cutoff.contains(edges.lengths.to(torch.float64))
            kept = (reached & (edges.sender <= edges.receiver)).nonzero()[:, 0]
            order = torch.argsort(edges.receiver[kept] * num_atoms + edges.sender[kept], stable=True)
            kept = kept[order]
            receiver = edges.receiver[kept]
            counts = torch.bincount(receiver, minlength=num_atoms)
            first = counts.cumsum(0) - counts
            before = torch.arange(len(kept), device=kept.device) - first[receiver]
        vectors, lengths = edges.vectors[kept].to(torch.float64), edges.lengths[kept].to(torch.float64)
        return cls(edges.sender[kept], receiver, vectors, lengths, before)

    def ranges(self, size: int) -> Iterator[tuple[int, int]]:
        """Runs of edges to j, from one to before the other, each of about ``size`` candidates for triples."""
        total = self.before.cumsum(0)
        if len(total) == 0 or int(total[-1]) == 0:
            return
        ends = torch.arange(size, int(total[-1]) + size, size, device=total.device)
        borders = torch.searchsorted(total, ends).add(1).clamp(max=len(total)).unique().tolist()
        yield from zip([0, *borders[:-1]], borders, strict=True)

    def candidates(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Edges to j in [start, stop) and edges to k, (T,) each: every two of one receiver."""
        to_j = torch.arange(start, stop, device=self.before.device)
        before = self.before[start:stop]
        begins = before.cumsum(0) - before
        within = torch.arange(int(before.sum()), device=before.device) - begins.repeat_interleave(before)
        chosen = to_j.repeat_interleave(before)
        return chosen, chosen - self.before[chosen] + within

    def weights(self, to_j: Tensor, to_k: Tensor) -> Tensor:
        """What each triple counts, (T,): 1, where i and j are images of one atom 1/2, where all three are 1/3.

        {i, i', k} is found from i and from i'; {i, i', i''} from each of the three, and of both orders of the others
        one is taken. {i, j, j'} is found once.
        """
        ij = self.receiver[to_j] == self.sender[to_j]
        all_three = ij & (self.sender[to_j] == self.sender[to_k])
        return torch.where(all_three, 1 / 3, torch.where(ij, 0.5, 1.0)).to(torch.float64)
