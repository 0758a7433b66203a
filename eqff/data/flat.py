"""Graphs as lists of plain tensors and back, for functions that are compiled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from eqff.data.graph import INPUTS, AtomicGraph, Edges, edge_slots

EDGES = ("sender", "receiver", "shift", "slots")
LEAST = 2
"""Compilers take sizes of 0 and 1 for special; narrower tables of neighbours are filled up with empty places."""


def pack(graph: AtomicGraph, lists: Sequence[str]) -> list[Tensor]:
    """The tensors of a graph in the order of `unpack`, tables of neighbours not narrower than `LEAST`.

    The table of structures comes last, if there is one. They are contiguous: compiled code does not look, and reads
    other strides as if there were none.
    """
    tensors = [getattr(graph, name) for name in INPUTS]
    for name in lists:
        tensors += _filled(graph.edges[name])
    if graph.members is not None:
        tensors.append(graph.members)
    return [tensor.contiguous() for tensor in tensors]


def with_members(graph: AtomicGraph) -> AtomicGraph:
    """The graph with its table of structures, not narrower than `LEAST`."""
    members = edge_slots(graph.batch, graph.num_structures)
    return replace(graph, members=_widened(members, graph.num_atoms))


def unpack(
    tensors: Sequence[Tensor], lists: Sequence[str], is_open: bool = False, with_table: bool = False
) -> AtomicGraph:
    """The graph of `pack`'s tensors, whose edges get their vectors from `AtomicGraph.deformed`.

    Args:
        tensors: In their order.
        lists: Names of the neighbour lists.
        is_open: What the graph says of itself as ``open``.
        with_table: Whether the table of structures is among them.
    """
    edges = {}
    for index, name in enumerate(lists):
        begin = len(INPUTS) + index * len(EDGES)
        sender, receiver, shift, slots = tensors[begin : begin + len(EDGES)]
        edges[name] = Edges(sender, receiver, shift, shift, shift[:, 0], slots)
    members = tensors[len(INPUTS) + len(EDGES) * len(lists)] if with_table else None
    return AtomicGraph(**dict(zip(INPUTS, tensors, strict=False)), edges=edges, members=members, open=is_open)


def sizes_of(graph: AtomicGraph, lists: Sequence[str]) -> tuple[int, ...]:
    """What can change from batch to batch: atoms, structures, of each list edges and places for neighbours, and, if
    there is a table of structures, its width."""
    found = [graph.num_atoms, graph.num_structures]
    for name in lists:
        edges = graph.edges[name]
        found += [edges.sender.shape[0], max(edges.slots.shape[1], LEAST)]
    if graph.members is not None:
        found.append(graph.members.shape[1])
    return tuple(found)


def _filled(edges: Edges) -> list[Tensor]:
    """Sender, receiver, shift and slots, the table with `LEAST` columns or more."""
    return [edges.sender, edges.receiver, edges.shift, _widened(edges.slots, edges.sender.shape[0])]


def _widened(table: Tensor, end: int) -> Tensor:
    missing = LEAST - table.shape[1]
    return table if missing <= 0 else torch.cat([table, table.new_full((table.shape[0], missing), end)], dim=1)
