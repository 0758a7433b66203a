"""All pairs of open structures and all neighbours of periodic ones, as one list."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.longrange.interaction import OPEN_PAIRS, require_apart
from eqff.longrange.kernels import smooth_end
from eqff.longrange.tuning import FADE


def pair_lists(cutoff: float) -> dict[str, float]:
    """The neighbour lists that `AllPairs` needs, name and cutoff in Å."""
    return {OPEN_PAIRS: float("inf"), _near_list(cutoff): cutoff}


def _near_list(cutoff: float) -> str:
    return f"dispersion_{cutoff:g}".replace(".", "_")


@dataclass(frozen=True)
class AllPairs:
    """Both directions of every pair; float64.

    Attributes:
        sender: Atom j, (E,).
        receiver: Atom i, (E,).
        shift: Whole lattice translations of j, (E, 3).
        vectors: r_j - r_i with the translation, Å, (E, 3).
        lengths: Å, (E,).
        periodic: 1 where the structure has a periodic direction, else 0, (E,).
        fade: 1 in open structures; in periodic ones falling from 1 to 0 over the last part of the cutoff, (E,).
    """

    sender: Tensor
    receiver: Tensor
    shift: Tensor
    vectors: Tensor
    lengths: Tensor
    periodic: Tensor
    fade: Tensor

    @classmethod
    def of(cls, graph: AtomicGraph, cutoff: float) -> AllPairs:
        """The pairs of a batch; neighbours of periodic structures up to ``cutoff`` (Å).

        Raises:
            ModelError: Two atoms stand in one place.
        """
        open_pairs, near = graph.edges[OPEN_PAIRS], graph.edges[_near_list(cutoff)]
        for edges in (open_pairs, near):
            require_apart(edges, graph.batch, "dispersion interaction")
        # a longer list than asked for, and open structures, which have all their pairs already, are cut here
        kept = (graph.pbc.any(dim=1)[graph.batch[near.receiver]] & (near.lengths < cutoff)).nonzero()[:, 0]
        lengths = torch.cat([open_pairs.lengths, near.lengths[kept]]).to(torch.float64)
        periodic = torch.arange(len(lengths), device=lengths.device) >= len(open_pairs.lengths)
        return cls(
            sender=torch.cat([open_pairs.sender, near.sender[kept]]),
            receiver=torch.cat([open_pairs.receiver, near.receiver[kept]]),
            shift=torch.cat([open_pairs.shift, near.shift[kept]]).to(torch.float64),
            vectors=torch.cat([open_pairs.vectors, near.vectors[kept]]).to(torch.float64),
            lengths=lengths,
            periodic=periodic.to(torch.float64),
            fade=torch.where(periodic, smooth_end(lengths, FADE * cutoff, cutoff), 1.0),
        )
