"""Pairs that are counted once, from a neighbour list that has them in both directions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from eqff.data.graph import Edges
from eqff.dispersion.cutoffs import Cutoff
from eqff.nn.reduce import segment_sum

CHUNK = 1 << 20
"""Pairs or triples that are treated at once; of more, only the sum is kept and the rest computed again on the way back,
so that memory does not grow with the cutoff."""


@dataclass(frozen=True)
class Pairs:
    """Pairs, each once, images included; float64.

    Attributes:
        first: Atom, (P,).
        second: The other one, (P,); an image of the first one too.
        lengths: Å, (P,).
    """

    first: Tensor
    second: Tensor
    lengths: Tensor

    @classmethod
    def of(cls, edges: Edges, cutoff: Cutoff) -> Pairs:
        """Those of a list within a cutoff."""
        with torch.no_grad():
            ahead = edges.sender > edges.receiver
            itself = edges.sender == edges.receiver
            if bool(itself.any()):
                ahead = ahead | (itself & _positive(edges.shift))
            kept = (ahead & cutoff.contains(edges.lengths.to(torch.float64))).nonzero()[:, 0]
        return cls(edges.receiver[kept], edges.sender[kept], edges.lengths[kept].to(torch.float64))

    def per_atom(self, energy: Callable[[Tensor, Tensor, Tensor], Tensor], num_atoms: int) -> Tensor:
        """Half of each pair's energy at each of its atoms, (N,).

        Args:
            energy: From first (p,), second (p,) and lengths (p,) to energies (p,).
            num_atoms: N.
        """

        def share(first: Tensor, second: Tensor, lengths: Tensor) -> Tensor:
            half = 0.5 * energy(first, second, lengths)
            return segment_sum(half, first, num_atoms) + segment_sum(half, second, num_atoms)

        if len(self.first) <= CHUNK:
            return share(self.first, self.second, self.lengths)
        chunks = zip(*(values.split(CHUNK) for values in (self.first, self.second, self.lengths)), strict=True)
        return sum(checkpoint(share, *chunk, use_reentrant=False) for chunk in chunks)


def _positive(shift: Tensor) -> Tensor:
    """Which translations (E, 3) come before their opposite, (E,)."""
    a, b, c = shift.unbind(1)
    return (a > 0) | ((a == 0) & ((b > 0) | ((b == 0) & (c > 0))))
