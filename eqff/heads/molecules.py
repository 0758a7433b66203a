"""Which atoms belong to one molecule, from distances: groups for classical-style exclusions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from ase.data import covalent_radii
from torch import Tensor

from eqff.data.fields import Field, declare
from eqff.data.graph import AtomicGraph, Edges
from eqff.parts import Fields, Head
from eqff.ranges import Positive

BONDS = "bonds"
"""Name of the neighbour list of atoms that may be bonded."""

declare(Field("molecules", "atom", (), "0e", "", "number of the atom's molecule in its structure", "internal", True))


class Molecules(Head):
    """Atoms are bonded where they are closer than the sum of their covalent radii times a factor.

    Numbers change at once where a bond breaks, and with them every energy that leaves out pairs within molecules: for
    molecules that do not react. Radii are those of Cordero et al., Dalton Trans. 2832 (2008), as in ASE.

    Args:
        elements: Atomic numbers covered.
        stretch: The factor.
    """

    reads = ("numbers",)
    writes = ("molecules",)
    compiles = False

    def __init__(self, elements: tuple[int, ...], stretch: Positive = 1.25):
        super().__init__()
        self.stretch = stretch
        self.longest = longest_bond(elements, stretch)

    @property
    def neighbour_lists(self) -> dict[str, float]:
        """Up to the longest bond."""
        return {BONDS: self.longest}

    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """``molecules``, (N,) int64: the place of the molecule's first atom in its structure."""
        edges, chosen = bonded(graph, self.stretch)
        number = _first_atoms(edges.sender[chosen], edges.receiver[chosen], graph.num_atoms)
        counts = torch.bincount(graph.batch, minlength=graph.num_structures)
        return {"molecules": number - (counts.cumsum(0) - counts)[graph.batch]}


def longest_bond(elements: Sequence[int], stretch: float) -> float:
    """Å, between any two of these elements."""
    return 2 * stretch * float(max(covalent_radii[z] for z in elements))


def bonded(graph: AtomicGraph, stretch: float) -> tuple[Edges, Tensor]:
    """The list of `BONDS` and which of its edges are bonds, (E,): closer than ``stretch`` times both covalent radii."""
    edges = graph.edges[BONDS]
    radii = torch.as_tensor(covalent_radii, dtype=edges.lengths.dtype, device=edges.lengths.device)[graph.numbers]
    return edges, edges.lengths.detach() < stretch * (radii[edges.sender] + radii[edges.receiver])


def _first_atoms(sender: Tensor, receiver: Tensor, num_atoms: int) -> Tensor:
    """Of the connected set that each atom is in, the first atom, (N,)."""
    first = torch.arange(num_atoms, device=sender.device)
    while True:
        nearer = first.scatter_reduce(0, receiver, first[sender], "amin")
        nearer = nearer[nearer]  # that atom may know of an earlier one: long chains take few rounds
        if torch.equal(nearer, first):
            return first
        first = nearer
