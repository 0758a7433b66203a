"""From structures to graphs, for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from ase import Atoms

from eqff.data.atomic_data import AtomicData
from eqff.data.atoms import from_atoms
from eqff.data.batching import collate
from eqff.data.graph import AtomicGraph, graph_from_batch
from eqff.data.neighbours import add_neighbours


def graph_of(
    structures: Sequence[Atoms], lists: Mapping[str, float], dtype: torch.dtype, *, classical: bool = False
) -> AtomicGraph:
    """One batch of structures, on the way that training data goes.

    Args:
        structures: With ``total_charge`` and ``multiplicity`` in ``info``.
        lists: Name and cutoff (Å) of each neighbour list.
        dtype: Floating dtype of the graph.
        classical: Take charge and multiplicity as they are, also where no number of electrons gives them.
    """
    convert = _classical if classical else partial(from_atoms, labels=())
    frames = [add_neighbours(convert(atoms), lists) for atoms in structures]
    return graph_from_batch(collate(frames), dtype)


def on_each_other(graph: AtomicGraph, first: int, second: int, apart: float = 0.0) -> AtomicGraph:
    """The graph with one atom moved to another, ``apart`` Å from it; readers refuse such structures."""
    positions = graph.positions.clone()
    positions[first] = positions[second]
    positions[first, 2] += apart
    return graph.deformed(positions)


def _classical(atoms: Atoms) -> AtomicData:
    bare, state = atoms.copy(), ("total_charge", "multiplicity")
    for key in state:
        bare.info.pop(key, None)
    frame = from_atoms(bare, total_charge=0, multiplicity="lowest", labels=())
    for key in state:
        if key in atoms.info:
            frame[key] = torch.tensor([float(atoms.info[key])], dtype=torch.float64)
    return frame
