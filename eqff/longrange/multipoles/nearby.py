"""Pairs of a batch that are summed one by one, undamped, before damping and scaling are known."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from eqff.data.graph import AtomicGraph, Edges
from eqff.longrange.kernels import smooth_end
from eqff.longrange.multipoles.damping import Damping
from eqff.longrange.multipoles.pairs import MultipolePairs
from eqff.longrange.multipoles.radial import bare_chain, complementary_chain
from eqff.longrange.multipoles.scaling import PairScaling
from eqff.longrange.tuning import FADE, Splitting


@dataclass(frozen=True)
class NearbyPairs:
    """Each pair once.

    Attributes:
        first: Atom i of each pair, (E,).
        second: Atom j, (E,).
        vectors: r_i - r_j in Å, by component, (3, E).
        lengths: Å, (E,).
        fade: What ends pairs of periodic structures at the cutoff; 1 in open ones, (E,). None where all are open.
        whole: B_0, B_1, ... that points have here: 1/r and its derivatives, or erfc(alpha r)/r and its, where a lattice
            sum has the rest.
    """

    first: Tensor
    second: Tensor
    vectors: Tensor
    lengths: Tensor
    fade: Tensor | None
    whole: tuple[Tensor, ...]

    @classmethod
    def open(cls, edges: Edges, count: int) -> NearbyPairs:
        """All pairs of structures without periodic directions; ``count`` members of each chain."""
        first, second, rows = _once(edges, torch.ones_like(edges.sender, dtype=torch.bool))
        lengths = torch.linalg.vector_norm(rows, dim=1)
        whole = tuple(bare_chain(lengths, count))
        return cls(first, second, rows.T.contiguous(), lengths, None, whole)

    @classmethod
    def periodic(cls, edges: Edges, inside: Tensor, splitting: Splitting, count: int) -> NearbyPairs:
        """Pairs up to the cutoff, faded out before it, of atoms ``inside`` of periodic structures, (N,) bool."""
        first, second, rows = _once(edges, inside[edges.receiver])
        lengths = torch.linalg.vector_norm(rows, dim=1)
        fade = smooth_end(lengths, FADE * splitting.cutoff, splitting.cutoff)
        whole = tuple(fade * b for b in complementary_chain(lengths, splitting.alpha, count))
        return cls(first, second, rows.T.contiguous(), lengths, fade, whole)

    def joined(self, other: NearbyPairs) -> NearbyPairs:
        """Both lists in one."""
        return NearbyPairs(
            first=torch.cat([self.first, other.first]),
            second=torch.cat([self.second, other.second]),
            vectors=torch.cat([self.vectors, other.vectors], dim=1),
            lengths=torch.cat([self.lengths, other.lengths]),
            fade=torch.cat([self._fading(), other._fading()]),
            whole=tuple(torch.cat(both) for both in zip(self.whole, other.whole, strict=True)),
        )

    def damped(self, damping: Damping, accuracy: float, count: int) -> MultipolePairs:
        """How these pairs interact under a damping, up to the ``count``-th function of each chain.

        ``accuracy`` decides whether the damping does anything at all.
        """
        chain = self.whole[:count]
        if damping.extent(accuracy) > 0:
            scales = damping.scales(self.lengths, self.first, self.second, len(chain))
            if self.fade is None:  # the whole is the bare one
                chain = tuple(scale * b for scale, b in zip(scales, chain, strict=True))
            else:
                bare = bare_chain(self.lengths, len(chain))
                taken = (self.fade * (1 - scale) * b for scale, b in zip(scales, bare, strict=True))
                chain = tuple(b - less for b, less in zip(chain, taken, strict=True))
        return MultipolePairs(self.first, self.second, self.vectors, chain)

    def _fading(self) -> Tensor:
        return torch.ones_like(self.lengths) if self.fade is None else self.fade


def taken_away(graph: AtomicGraph, damping: Damping, scaling: PairScaling, count: int) -> MultipolePairs:
    """The scaled pairs as they are without scaling, times their factor less 1."""
    vectors = scaling.vectors(graph)
    lengths = torch.linalg.vector_norm(vectors, dim=1)
    less = scaling.factor - 1
    scales = damping.scales(lengths, scaling.first, scaling.second, count)
    chain = tuple(less * scale * b for scale, b in zip(scales, bare_chain(lengths, count), strict=True))
    return MultipolePairs(scaling.first, scaling.second, vectors.T.contiguous(), chain)


def _once(edges: Edges, chosen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of each pair and its reverse one: receiver, sender (E/2,) and r_receiver - r_sender in Å (E/2, 3)."""
    # of an atom and its own image, the shift whose first component that is not zero is positive
    x, y, z = edges.shift.unbind(dim=1)
    forward = (x > 0) | ((x == 0) & ((y > 0) | ((y == 0) & (z > 0))))
    once = (edges.sender < edges.receiver) | ((edges.sender == edges.receiver) & forward)
    half = (once & chosen).nonzero()[:, 0]
    vectors = -edges.vectors.to(torch.float64).index_select(0, half)
    return edges.receiver[half], edges.sender[half], vectors
