"""From atoms to what a model computes on, one geometry after the other: what stays is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from ase import Atoms

from eqff.data.atomic_data import AtomicData
from eqff.data.graph import AtomicGraph
from eqff.data.solves import ColdStarts
from eqff.interfaces.given import finite, require_geometry, without_external
from eqff.interfaces.graphs import MovingGraph, lasting
from eqff.interfaces.pairs import Pairs
from eqff.interfaces.skin import SkinLists
from eqff.interfaces.snapshot import Snapshot
from eqff.potential import Potential

_NO_CELL = np.zeros((3, 3))


class Inputs:
    """What a model is given along a trajectory, or of one structure after the other.

    Args:
        neighbours: The lists.
        solves: Where iterative solves begin.

    Attributes:
        pairs: Of the last geometry, by name of the list.
    """

    def __init__(self, neighbours: SkinLists, solves: ColdStarts):
        self.neighbours, self.solves = neighbours, solves
        self.pairs: dict[str, Pairs] = {}
        self._finite_cell: bytes | None = None
        self._settled: tuple[Any, MovingGraph] | None = None
        self._solved: tuple[Any, ...] = ()
        self._first_weight: tuple[Potential, torch.Tensor | None] | None = None

    def __call__(
        self,
        potential: Potential,
        atoms: Atoms,
        now: Snapshot,
        said: tuple[Any, ...],
        structure: Callable[[Atoms], AtomicData],
    ) -> AtomicGraph:
        """The graph of one structure; what only elements, periodicity and state decide is kept between steps.

        Args:
            potential: The model.
            atoms: The structure.
            now: Of the same.
            said: All that is said about its charge, spin and external field.
            structure: Settles and checks these, where they are not those of the last structure.

        Raises:
            DataError: There is nothing to compute, or no numbers to compute with, or a lattice vector is missing.
        """
        where = self._where(potential)
        key = (now.numbers, now.pbc, said, where)
        if self._settled is None or self._settled[0] != key:
            graph = lasting(structure(atoms), *where)
            self._settled = key, MovingGraph(replace(graph, solves=self.solves))
            # external charges move as atoms do: solutions go on from those before
            self._solved = now.numbers, now.pbc, without_external(said), where
        positions = atoms.positions
        if now.cell != self._finite_cell or not len(positions) or not finite(positions):
            require_geometry(atoms)
            self._finite_cell = now.cell
        cell = atoms.cell.array if now.periodic else _NO_CELL  # the box around a molecule means nothing
        self.pairs = self.neighbours(positions, cell, atoms.pbc)
        self.solves.begin(positions, cell, self._solved)
        return self._settled[1](positions, cell, self.pairs)

    def shortest_distance(self) -> tuple[float, int, int]:
        """Of the last geometry: the shortest distance in Å and its two atoms; infinite where there are no pairs."""
        lists = [pairs for pairs in self.pairs.values() if len(pairs.lengths)]
        if not lists:
            return float("inf"), 0, 0
        pairs = min(lists, key=lambda pairs: pairs.lengths.min())
        closest = int(pairs.lengths.argmin())
        return float(pairs.lengths[closest]), int(pairs.receiver[closest]), int(pairs.sender[closest])

    def _where(self, potential: Potential) -> tuple[torch.dtype, torch.device]:
        """Precision and device of the model, which may be moved between calculations."""
        if self._first_weight is None or self._first_weight[0] is not potential:
            # a weight stays the same object wherever it is moved
            self._first_weight = potential, next(potential.parameters(), None)
        weight = self._first_weight[1]
        if weight is None:
            return potential.dtype, next(potential.buffers()).device
        return weight.dtype, weight.device
