"""Graphs as lists of plain tensors and back, for functions that are compiled."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from eqff.data.graph import INPUTS, AtomicGraph, Edges

EDGES = ("sender", "receiver", "shift", "slots")
LEAST = 2
"""Compilers take sizes of 0 and 1 for special; narrower tables of neighbours are filled up with empty places."""


def pack(graph: AtomicGraph, lists: Sequence[str]) -> list[Tensor]:
    """The tensors of a graph in the order of `unpack`, tables of neighbours not narrower than `LEAST`.

    They are contiguous: compiled code does not look, and reads other strides as if there were none.
    """
    tensors = [getattr(graph, name) for name in INPUTS]
    for name in lists:
        tensors += _filled(graph.edges[name])
    return [tensor.contiguous() for tensor in tensors]


def unpack(tensors: Sequence[Tensor], lists: Sequence[str], is_open: bool = False) -> AtomicGraph:
    """The graph of `pack`'s tensors, whose edges get their vectors from `AtomicGraph.deformed`.

    Args:
        tensors: In their order.
        lists: Names of the neighbour lists.
        is_open: What the graph says of itself as ``open``.
    """
    edges = {}
    for index, name in enumerate(lists):
        begin = len(INPUTS) + index * len(EDGES)
        sender, receiver, shift, slots = tensors[begin : begin + len(EDGES)]
        edges[name] = Edges(sender, receiver, shift, shift, shift[:, 0], slots)
    return AtomicGraph(**dict(zip(INPUTS, tensors, strict=False)), edges=edges, open=is_open)


def sizes_of(graph: AtomicGraph, lists: Sequence[str]) -> tuple[int, ...]:
    """What can change from batch to batch: atoms, structures, and of each list edges and places for neighbours."""
    found = [graph.num_atoms, graph.num_structures]
    for name in lists:
        edges = graph.edges[name]
        found += [edges.sender.shape[0], max(edges.slots.shape[1], LEAST)]
    return tuple(found)


def _filled(edges: Edges) -> list[Tensor]:
    """Sender, receiver, shift and slots, the table with `LEAST` columns or more."""
    slots = edges.slots
    if slots.shape[1] < LEAST:
        more = slots.new_full((slots.shape[0], LEAST - slots.shape[1]), edges.sender.shape[0])
        slots = torch.cat([slots, more], dim=1)
    return [edges.sender, edges.receiver, edges.shift, slots]
