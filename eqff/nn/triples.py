"""Two neighbours of one atom: every two edges that share their receiver."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from eqff.data.graph import Edges
from eqff.kernels.capture import capturing
from eqff.kernels.choice import eager


@dataclass(frozen=True)
class Triples:
    """Every unordered pair of edges of one list with one receiver, each once.

    Attributes:
        atom: The receiver, (T,).
        first: Edge to one neighbour, (T,); E, the number of edges, stands for none.
        second: Edge to the other, (T,), likewise.
    """

    atom: Tensor
    first: Tensor
    second: Tensor

    @classmethod
    def of(cls, edges: Edges, cutoff: float) -> Triples:
        """All within a cutoff (Å) of the receiver, and while code is traced perhaps more.

        Where operations run one by one, there are as many as needed. Traced code can't have sizes that depend on
        distances: it takes every two places of the table of neighbours.
        """
        return every_two_places(edges) if capturing() or not eager() else every_two_edges(edges, cutoff)


@torch.no_grad()
def every_two_edges(edges: Edges, cutoff: float) -> Triples:
    """Exactly those within the cutoff, so that memory grows with their number only."""
    kept = (edges.lengths < cutoff).nonzero()[:, 0]
    receiver = edges.receiver[kept]
    counts = torch.bincount(receiver, minlength=edges.slots.shape[0])
    starts = counts.cumsum(0) - counts
    numbers = torch.arange(len(kept), device=kept.device)
    before = numbers - starts[receiver]  # edges of the same receiver that come earlier; each makes a triple
    second = numbers.repeat_interleave(before)
    places = torch.arange(len(second), device=kept.device) - (before.cumsum(0) - before)[second]
    atom = receiver[second]
    return Triples(atom, kept[starts[atom] + places], kept[second])


def every_two_places(edges: Edges) -> Triples:
    """Every two places of `Edges.slots`, empty ones included: K² for each atom, of which one order of each two counts.

    Half as many would do, but sizes such as K / 2 make compilers ask whether K is even.
    """
    num_edges, (num_atoms, num_places) = edges.sender.shape[0], edges.slots.shape
    places = torch.arange(num_places, device=edges.slots.device)
    first = edges.slots[:, :, None].expand(-1, -1, num_places)
    second = torch.where(places > places[:, None], edges.slots[:, None, :], num_edges)
    atom = torch.arange(num_atoms, device=edges.slots.device)[:, None, None].expand_as(second)
    return Triples(atom.flatten(), first.flatten(), second.flatten())
