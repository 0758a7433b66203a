"""Atoms of chosen structures as a padded table, so that sums over whole structures become batched matrix products."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from eqff.data.graph import edge_slots
from eqff.nn.reduce import segment_sum


@dataclass(frozen=True)
class Padding:
    """Where the atoms of P structures of a batch stand in a table of n places each.

    Attributes:
        structures: Which structures, (P,) int64.
        index: Atom in each place, (P, n) int64; empty places repeat an atom.
        mask: Whether a place is taken, (P, n) bool.
        num_atoms: Atoms of the whole batch.
    """

    structures: Tensor
    index: Tensor
    mask: Tensor
    num_atoms: int

    @classmethod
    def of(cls, structures: Tensor, batch: Tensor, num_structures: int) -> Padding:
        """The table for ``structures`` (P,) of a batch, given the structure of each atom, ``batch`` (N,), ascending."""
        counts = torch.bincount(batch, minlength=num_structures)
        first, counts = (counts.cumsum(0) - counts)[structures], counts[structures]
        places = torch.arange(int(counts.max()) if len(counts) else 0, device=batch.device)
        mask = places < counts[:, None]
        return cls(structures, torch.where(mask, first[:, None] + places, 0), mask, batch.shape[0])

    @classmethod
    def whole(cls, batch: Tensor, num_structures: int, members: Tensor | None = None) -> Padding:
        """The table for all structures of a batch; no value is looked at where `AtomicGraph.members` is given."""
        members = edge_slots(batch, num_structures) if members is None else members
        mask = members < batch.shape[0]
        structures = torch.arange(num_structures, device=batch.device)
        return cls(structures, torch.where(mask, members, 0), mask, batch.shape[0])

    @property
    def batch(self) -> Tensor:
        """The place among ``structures`` of each atom, (N,); 0 for atoms of other structures."""
        row = torch.arange(len(self.structures), device=self.index.device)[:, None].expand_as(self.index)
        return torch.zeros(self.num_atoms, dtype=torch.int64, device=row.device).index_put(
            (self.index[self.mask],), row[self.mask]
        )

    def places(self, batch: Tensor) -> Tensor:
        """The place of each atom in its row, (N,), of a table for all structures."""
        return torch.arange(self.num_atoms, device=batch.device) - self.index[batch, :1].flatten()

    def gather(self, values: Tensor) -> Tensor:
        """Rows of ``values`` (N, ...) in their places, zero in empty ones, (P, n, ...)."""
        mask = self.mask.reshape(self.mask.shape + (1,) * (values.dim() - 1))
        return torch.where(mask, values[self.index], 0.0)

    def scatter(self, table: Tensor) -> Tensor:
        """From a table (P, n, ...) back to rows (N, ...), zero for atoms of other structures."""
        mask = self.mask.reshape(self.mask.shape + (1,) * (table.dim() - 2))
        return segment_sum(torch.where(mask, table, 0.0).flatten(0, 1), self.index.flatten(), self.num_atoms)
