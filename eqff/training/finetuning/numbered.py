"""Tables of custom parts that have a row for each atomic number, as ``nn.Embedding(max(elements) + 1, channels)``.

eqff's own tables have a row for each element of the model, which shows in their sizes. Rows for atomic numbers don't:
charges and multiplicities are indices of tables too. So a trained model is asked: the energy of a molecule of all its
elements depends on the rows of these elements alone.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from ase import Atoms
from torch import Tensor, nn

from eqff.data.atoms import from_atoms
from eqff.data.batching import collate
from eqff.data.graph import AtomicGraph, graph_from_batch
from eqff.data.neighbours import add_neighbours
from eqff.potential import Potential


def numbered_tables(new: Potential, old: Potential) -> tuple[str, ...]:
    """Names of weights with a row for each atomic number in both models.

    Args:
        new: Of more elements, perhaps.
        old: Trained.
    """
    theirs, ours = dict(old.named_parameters()), dict(new.named_parameters())
    embeddings = {f"{name}.weight" for name, module in old.named_modules() if isinstance(module, nn.Embedding)}
    ends = (max(old.elements) + 1, max(new.elements) + 1)
    possible = {}
    for name in theirs.keys() & ours.keys():
        if theirs[name].shape[1:] != ours[name].shape[1:] or not theirs[name].dim():
            continue
        rows = (len(theirs[name]), len(ours[name]))
        if (rows == ends and rows[0] != rows[1]) or (name in embeddings and rows[0] >= ends[0] and rows[1] >= ends[1]):
            possible[name] = theirs[name]
    return tuple(sorted(_read_by_number(old, possible))) if possible else ()


def with_nearest_numbers(fresh: Tensor, table: Tensor, nearest: Mapping[int, int], start: bool) -> Tensor:
    """A trained table with rows for more atomic numbers, each that of the nearest known element.

    Args:
        fresh: Of the new model, with a row for each atomic number.
        table: Trained, likewise.
        nearest: Every element to a known one.
        start: Whether fresh rows differ from each other for a reason, and this difference is kept.
    """
    filled = fresh.clone()
    rows = min(len(table), len(fresh))
    filled[:rows] = table[:rows]
    for number, near in nearest.items():
        if number != near:
            filled[number] = table[near] + (fresh[number] - fresh[near] if start else 0.0)
    return filled


def _read_by_number(potential: Potential, tables: Mapping[str, nn.Parameter]) -> set[str]:
    """Which of them have a derivative in the rows of a molecule's elements and in no other."""
    graph, names = _molecule(potential), list(tables)
    with torch.enable_grad():
        energy = potential(graph, forces=False)["energy"].sum()
        by = torch.autograd.grad(energy, [tables[name] for name in names], allow_unused=True)
    there = set(graph.numbers.tolist())
    return {n for n, d in zip(names, by, strict=True) if d is not None and _rows(d) == there}


def _rows(derivative: Tensor) -> set[int]:
    return set(derivative.flatten(1).abs().amax(dim=1).nonzero().flatten().tolist())


def _molecule(potential: Potential) -> AtomicGraph:
    """All elements of a model on a coil, 1.2 Å and more from each other."""
    turns = 0.9 * np.arange(len(potential.elements))
    positions = np.stack([1.2 * np.cos(turns), 1.2 * np.sin(turns), 0.7 * turns], axis=-1)
    data = from_atoms(Atoms(potential.elements, positions), total_charge=0, multiplicity="lowest", labels=())
    return graph_from_batch(collate([add_neighbours(data, potential.neighbour_lists)]), potential.dtype)
