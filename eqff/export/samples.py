"""Structures of a model's elements to compile with and to compare on."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from eqff.data.atoms import from_atoms
from eqff.data.batching import collate
from eqff.data.graph import AtomicGraph, graph_from_batch
from eqff.data.neighbours import add_neighbours
from eqff.errors import ModelError
from eqff.potential import Potential


def sample(potential: Potential, atoms: int = 11, seed: int = 0) -> AtomicGraph:
    """A periodic structure of the model's elements, to trace with: all sizes that can change differ from each other."""
    generator = np.random.default_rng(seed)
    channels = potential.backbone.channels if potential.backbone else 0
    fixed = {0, 1, 2, 3, 4, 9, 16, 25, channels}  # sizes of vectors, spherical components and channels
    for _ in range(100):
        graph = disordered(potential, atoms, generator)
        sizes = [graph.num_atoms, *(n for e in graph.edges.values() for n in e.slots.shape[1:] + e.sender.shape)]
        if len(set(sizes)) == len(sizes) and not set(sizes) & fixed:
            return graph
    raise ModelError("No structure was found to compile the model with: its cutoffs are too short for neighbours.")


def disordered(potential: Potential, atoms: int, generator: np.random.Generator) -> AtomicGraph:
    """A periodic structure of up to 27 atoms of the model's elements, none too close to another."""
    side = 2.6
    grid = np.stack(np.meshgrid(*[np.arange(3)] * 3, indexing="ij"), -1).reshape(-1, 3)
    chosen = grid[generator.choice(len(grid), atoms, replace=False)]
    positions = side * chosen + generator.normal(scale=0.25, size=(atoms, 3))
    numbers = [potential.elements[k % len(potential.elements)] for k in range(atoms)]
    structure = Atoms(numbers, positions, cell=3 * side * np.eye(3), pbc=True)
    data = from_atoms(structure, total_charge=0, multiplicity="lowest", labels=())
    return graph_from_batch(collate([add_neighbours(data, potential.neighbour_lists)]), potential.dtype)
