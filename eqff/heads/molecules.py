"""Which atoms belong to one molecule, from distances: groups for classical-style exclusions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from ase.data import covalent_radii
from torch import Tensor

from eqff.data.fields import Field, declare
from eqff.data.graph import AtomicGraph, Edges
from eqff.heads.formal_charges import atomic_number
from eqff.parts import Fields, Head
from eqff.ranges import Positive

BONDS = "bonds"
"""Name of the neighbour list of atoms that may be bonded."""

_SHORTEST = 0.1  # Å, of a list that nothing needs

declare(Field("molecules", "atom", (), "0e", "", "number of the atom's molecule in its structure", "internal", True))


class Molecules(Head):
    """Atoms are bonded where they are closer than the sum of their covalent radii times a factor.

    Numbers change at once where a bond breaks, and with them every energy that leaves out pairs within molecules: for
    molecules that do not react. Radii are those of Cordero et al., Dalton Trans. 2832 (2008), as in ASE. By them a
    sodium ion is bonded to the water around it: name such elements in ``alone``.

    Args:
        elements: Atomic numbers covered.
        stretch: The factor.
        alone: Elements that have no bonds, by symbol or atomic number: monatomic ions, noble gases.

    Raises:
        ConfigError: An element that does not exist.
    """

    reads = ("numbers",)
    writes = ("molecules",)
    compiles = False

    def __init__(self, elements: tuple[int, ...], stretch: Positive = 1.25, alone: Sequence[str | int] = ()):
        super().__init__()
        self.rule = BondRule.of(elements, stretch, alone)

    @property
    def neighbour_lists(self) -> dict[str, float]:
        """Up to the longest bond."""
        return {BONDS: self.rule.longest}

    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """``molecules``, (N,) int64: the place of the molecule's first atom in its structure."""
        edges, chosen = self.rule.bonds(graph)
        number = first_atoms(edges.sender[chosen], edges.receiver[chosen], graph.num_atoms)
        counts = torch.bincount(graph.batch, minlength=graph.num_structures)
        return {"molecules": number - (counts.cumsum(0) - counts)[graph.batch]}


@dataclass(frozen=True)
class BondRule:
    """Which atoms are bonded.

    Attributes:
        radii: Of bonds by atomic number, the factor included, Å; NaN for elements without bonds, (119,) float64.
        longest: Bond between any two elements of the model, Å.
    """

    radii: Tensor
    longest: float

    @classmethod
    def of(cls, elements: Sequence[int], stretch: float, alone: Sequence[str | int]) -> BondRule:
        """Closer than ``stretch`` times the sum of both covalent radii, but for elements ``alone``.

        Raises:
            ConfigError: An element that does not exist.
        """
        radii = stretch * torch.as_tensor(covalent_radii, dtype=torch.float64)
        radii[[atomic_number(element, "alone") for element in alone]] = torch.nan
        reach = radii[list(elements)].nan_to_num(nan=0.0).amax() if elements else torch.zeros(())
        return cls(radii, max(2 * float(reach), _SHORTEST))

    def bonds(self, graph: AtomicGraph) -> tuple[Edges, Tensor]:
        """The list of `BONDS` and which of its edges are bonds, (E,)."""
        edges = graph.edges[BONDS]
        radii = self.radii.to(edges.lengths)[graph.numbers]
        return edges, edges.lengths.detach() < radii[edges.sender] + radii[edges.receiver]


def first_atoms(sender: Tensor, receiver: Tensor, num_atoms: int) -> Tensor:
    """Of the connected set that each atom is in, the first atom, (N,)."""
    first = torch.arange(num_atoms, device=sender.device)
    while True:
        nearer = first.scatter_reduce(0, receiver, first[sender], "amin")
        nearer = nearer[nearer]  # that atom may know of an earlier one: long chains take few rounds
        if torch.equal(nearer, first):
            return first
        first = nearer
