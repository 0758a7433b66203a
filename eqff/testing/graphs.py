"""From structures to graphs, for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from ase import Atoms

from eqff.data.atoms import from_atoms
from eqff.data.graph import AtomicGraph, graph_from_batch
from eqff.data.neighbours import add_neighbours


def graph_of(structures: Sequence[Atoms], lists: Mapping[str, float], dtype: torch.dtype) -> AtomicGraph:
    """One batch of structures, on the way that training data goes.

    Args:
        structures: With ``total_charge`` and ``multiplicity`` in ``info``.
        lists: Name and cutoff (Å) of each neighbour list.
        dtype: Floating dtype of the graph.
    """
    from torch_geometric.data import Batch

    frames = [add_neighbours(from_atoms(atoms, labels=()), lists) for atoms in structures]
    return graph_from_batch(Batch.from_data_list(frames), dtype)
