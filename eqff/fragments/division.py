"""A batch of structures as a batch of their fragments, and what was found on it put back."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from eqff.data.graph import AtomicGraph, Edges, edge_slots
from eqff.fragments.states import fragment_states


@dataclass(frozen=True)
class Division:
    """A batch, and the same atoms with every fragment a structure of its own.

    Attributes:
        whole: The batch, with the numbers of its fragments.
        apart: F fragments, one after the other; pairs of its neighbour lists are within one fragment.
        structure: Structure of each fragment, (F,).
        place: Of each atom of ``whole`` in ``apart``, (N,); None where the order is the same.
    """

    whole: AtomicGraph
    apart: AtomicGraph
    structure: Tensor
    place: Tensor | None

    @classmethod
    def of(cls, graph: AtomicGraph, number: Tensor, lists: Collection[str]) -> Division:
        """Divides an open batch.

        Args:
            graph: The batch.
            number: Of each atom's fragment in its structure, from 0, (N,) int64.
            lists: Names of the neighbour lists that fragments need.

        Raises:
            ModelError: Charges or spins of fragments that are not those of the structure.
        """
        span = int(number.max()) + 1
        fragments, owner = torch.unique(graph.batch * span + number, return_inverse=True)
        structure = fragments // span
        charges, multiplicities = fragment_states(graph, owner, structure)
        order, place = torch.argsort(owner, stable=True), None
        if bool((owner.diff() < 0).any()):  # atoms of a fragment don't stand together
            place = torch.empty_like(order)
            place[order] = torch.arange(len(order), device=order.device)
        apart = AtomicGraph(
            numbers=graph.numbers[order],
            positions=graph.positions[order],
            cell=graph.cell[structure],
            pbc=graph.pbc[structure],
            total_charge=charges,
            multiplicity=multiplicities,
            batch=owner[order],
            electric_field=graph.electric_field[structure],
            edges={name: _within(graph.edges[name], owner, place) for name in lists},
            open=graph.open,
        )
        return cls(replace(graph, fragment=number), apart, structure, place)

    def together(self, fields: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Fields of the atoms of ``apart``, (N, ...), in the order of ``whole``."""
        if self.place is None:
            return dict(fields)
        return {name: value.index_select(0, self.place) for name, value in fields.items()}


def _within(edges: Edges, owner: Tensor, place: Tensor | None) -> Edges:
    """The pairs within fragments, of atoms at their new places."""
    kept = (owner[edges.sender] == owner[edges.receiver]).nonzero()[:, 0]
    sender, receiver = edges.sender[kept], edges.receiver[kept]
    if place is not None:
        sender, receiver = place[sender], place[receiver]
        order = torch.argsort(receiver, stable=True)
        kept, sender, receiver = kept[order], sender[order], receiver[order]
    slots = edge_slots(receiver, owner.shape[0])
    return Edges(sender, receiver, edges.shift[kept], edges.vectors[kept], edges.lengths[kept], slots)
