"""From structures to graphs, for tests."""

from __future__ import annotations

import functools
import pickle
from collections.abc import Mapping, Sequence

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
    frames = [_frame(_Known(atoms, tuple(lists.items()), classical)) for atoms in structures]
    return graph_from_batch(collate(frames), dtype)


def on_each_other(graph: AtomicGraph, first: int, second: int, apart: float = 0.0) -> AtomicGraph:
    """The graph with one atom moved to another, ``apart`` Å from it; readers refuse such structures."""
    positions = graph.positions.clone()
    positions[first] = positions[second]
    positions[first, 2] += apart
    return graph.deformed(positions)


class _Known:
    """A structure as a key: equal where all is equal that a frame is made from.

    Args:
        atoms: The structure, which is copied.
        lists: Name and cutoff of each neighbour list.
        classical: As `graph_of` has it.
    """

    def __init__(self, atoms: Atoms, lists: tuple[tuple[str, float], ...], classical: bool):
        self.atoms, self.lists, self.classical = atoms.copy(), lists, classical
        parts = (atoms.cell.array, atoms.pbc, *sorted(atoms.arrays.items()), *atoms.info.items())
        self._content = lists, classical, tuple(map(pickle.dumps, parts))

    def __hash__(self) -> int:
        return hash(self._content)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Known) and self._content == other._content


@functools.lru_cache(maxsize=512)  # batteries ask for the same few structures in every test
def _frame(known: _Known) -> AtomicData:
    """The structure with its neighbour lists; nothing writes into it."""
    convert = _classical if known.classical else functools.partial(from_atoms, labels=())
    return add_neighbours(convert(known.atoms), dict(known.lists))


def _classical(atoms: Atoms) -> AtomicData:
    bare, state = atoms.copy(), ("total_charge", "multiplicity")
    for key in state:
        bare.info.pop(key, None)
    frame = from_atoms(bare, total_charge=0, multiplicity="lowest", labels=())
    for key in state:
        if key in atoms.info:
            frame[key] = torch.tensor([float(atoms.info[key])], dtype=torch.float64)
    return frame
