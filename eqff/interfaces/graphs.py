"""The graph of one structure that moves: what stays is kept, what moves is measured once, in NumPy.

A small molecule's step is so short that each operation of PyTorch counts, ten times as long as NumPy's on arrays of
this size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch

from eqff.data.atomic_data import AtomicData
from eqff.data.graph import INPUTS as FIELDS
from eqff.data.graph import AtomicGraph, Edges, graph_from_tensors
from eqff.interfaces.skin import Pairs

_NUMPY = {torch.float32: np.float32, torch.float64: np.float64}


def lasting(data: AtomicData, dtype: torch.dtype, device: torch.device) -> AtomicGraph:
    """What stays while elements, periodicity and state do: the graph without neighbours.

    Args:
        data: The structure.
        dtype: Of the model.
        device: Of the model.
    """
    tensors = {name: data[name].to(device) for name in FIELDS if name != "batch" and name in data}
    tensors["batch"] = torch.zeros(data["numbers"].shape[0], dtype=torch.int64, device=device)
    return graph_from_tensors(tensors, dtype)


def moved(graph: AtomicGraph, positions: np.ndarray, cell: np.ndarray, pairs: Mapping[str, Pairs]) -> AtomicGraph:
    """The graph of the same atoms in another geometry.

    Args:
        graph: As of `lasting`.
        positions: Å, (N, 3).
        cell: Lattice vectors as rows in Å, (3, 3).
        pairs: Neighbour lists by name.
    """
    dtype, device = graph.positions.dtype, graph.positions.device

    def real(values: np.ndarray) -> torch.Tensor:
        # in the precision of the model before they travel; a copy, as atoms go on moving
        return torch.from_numpy(values.astype(_NUMPY[dtype])).to(device)

    def edges(found: Pairs) -> Edges:
        return Edges(
            torch.from_numpy(found.sender).to(device),
            torch.from_numpy(found.receiver).to(device),
            real(found.shift),
            real(found.vectors),
            real(found.lengths),
            torch.from_numpy(slots(found.receiver, len(positions))).to(device),
        )

    lists = {name: edges(found) for name, found in pairs.items()}
    return replace(graph, positions=real(positions), cell=real(cell[None]), edges=lists)


def slots(receiver: np.ndarray, num_atoms: int) -> np.ndarray:
    """The same as `eqff.data.graph.edge_slots`."""
    counts = np.bincount(receiver, minlength=num_atoms)
    places = np.arange(counts.max(initial=0))
    first = counts.cumsum() - counts
    return np.where(places < counts[:, None], first[:, None] + places, len(receiver))
