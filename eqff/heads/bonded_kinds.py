"""Kinds of atoms by element and bonds, and the bonded atoms that span a local frame."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from ase.data import atomic_numbers, chemical_symbols
from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.errors import ConfigError, ModelError, did_you_mean
from eqff.heads.molecules import BondRule

_BACK = 1e-3  # Å: two bonds that lead back to their atom cancel to rounding
_WRITTEN = re.compile(r"([A-Z][a-z]?)(?:\(([A-Za-z,\s]*)\))?")


@dataclass(frozen=True)
class Kind:
    """An element, or one with all atoms that it is bonded to.

    Attributes:
        name: "O", or "C(H,H,H,O)": bonded atoms in alphabetical order, however they were written.
        element: Atomic number.
        bonded: Atomic numbers of all bonded atoms, ascending; None for any.
    """

    name: str
    element: int
    bonded: tuple[int, ...] | None

    @classmethod
    def read(cls, name: str) -> Kind:
        """From its name.

        Raises:
            ConfigError: It is none.
        """
        written = _WRITTEN.fullmatch(name.replace(" ", ""))
        if written is None:
            raise ConfigError(f"'{name}' is no kind of atom; write an element (O), or with its bonds (C(H,H,H,O)).")
        element = _number(written[1], name)
        if written[2] is None:
            return cls(written[1], element, None)
        symbols = sorted(symbol for symbol in written[2].split(",") if symbol)
        bonds = tuple(sorted(_number(symbol, name) for symbol in symbols))
        return cls(f"{written[1]}({','.join(symbols)})", element, bonds)

    @property
    def plain(self) -> bool:
        """Whether the bonds do not matter."""
        return self.bonded is None

    def matches(self, bonds: Bonds) -> Tensor:
        """Which atoms are of this kind, (N,) bool."""
        mine = bonds.numbers == self.element
        if self.bonded is None:
            return mine
        largest = bonds.counts.shape[1]
        wanted = torch.bincount(torch.tensor(self.bonded, dtype=torch.int64), minlength=largest)
        if len(wanted) > largest:  # bonded to an element that is not there
            return torch.zeros_like(mine)
        return mine & (bonds.counts == wanted.to(mine.device)).all(dim=1)


@dataclass(frozen=True)
class Bonds:
    """Of a batch, both ways, sorted by receiver.

    Attributes:
        graph: The batch.
        sender: (E,).
        receiver: (E,).
        vectors: To the sender, Å, float64, (E, 3).
        counts: How many atoms of each element an atom is bonded to, (N, largest Z + 1).
    """

    graph: AtomicGraph
    sender: Tensor
    receiver: Tensor
    vectors: Tensor
    counts: Tensor

    @classmethod
    def of(cls, graph: AtomicGraph, rule: BondRule) -> Bonds:
        """By a rule."""
        edges, chosen = rule.bonds(graph)
        sender, receiver = edges.sender[chosen], edges.receiver[chosen]
        size = int(graph.numbers.max()) + 1
        counts = torch.bincount(receiver * size + graph.numbers[sender], minlength=graph.num_atoms * size)
        vectors = edges.vectors[chosen].to(torch.float64)
        return cls(graph, sender, receiver, vectors, counts.reshape(graph.num_atoms, size))

    @property
    def numbers(self) -> Tensor:
        """Atomic numbers, (N,)."""
        return self.graph.numbers

    def vectors_to(self, atoms: Tensor, axes: Sequence[Kind], onward: bool) -> Tensor:
        """From atoms (M,), ascending, to bonded ones of the given kinds, Å, (M, K, 3).

        Args:
            atoms: From which.
            axes: Kinds; each stands for one atom, and of one kind there must be as many as axes.
            onward: Whether axes are found one after the other, each the only one of its kind that is left, and the
                second one, where none is bonded to the atom, among those bonded to the first.

        Raises:
            ModelError: Of some kind there are fewer or more atoms than that.
        """
        place = torch.full_like(self.numbers, -1)
        place[atoms] = torch.arange(len(atoms), device=atoms.device)
        free, chosen = place[self.receiver] >= 0, atoms.new_zeros(0)
        columns: list[Tensor] = []
        for slot, kind in enumerate(axes):
            edges = (free & kind.matches(self)[self.sender]).nonzero()[:, 0]
            rows, vectors = place[self.receiver[edges]], self.vectors[edges]
            counts = torch.bincount(rows, minlength=len(atoms))
            if onward and slot == 1:
                far, further = self._past(chosen[counts == 0], kind)
                rows, order = torch.cat([rows, place[far]]).sort(stable=True)
                vectors = torch.cat([vectors, further])[order]
                edges = torch.cat([edges, torch.full_like(far, -1)])[order]
                counts = torch.bincount(rows, minlength=len(atoms))
            wanted = 1 if onward else sum(other == kind for other in axes[slot:])
            if bool((counts != wanted).any()):
                worst = int((counts != wanted).nonzero()[0, 0])
                self._refuse(int(atoms[worst]), kind, int(counts[worst]), wanted)
            first = counts.cumsum(0) - counts
            chosen = edges[first]
            free = free.index_fill(0, chosen[chosen >= 0], False)
            columns.append(vectors[first])
        return torch.stack(columns, dim=1) if columns else self.vectors.new_zeros(len(atoms), 0, 3)

    def _past(self, edges: Tensor, kind: Kind) -> tuple[Tensor, Tensor]:
        """Of each bond: its receiver and the vectors from there to atoms of a kind that are bonded to its sender."""
        degree = torch.bincount(self.receiver, minlength=len(self.numbers))
        begin, middle = degree.cumsum(0) - degree, self.sender[edges]
        ways = degree[middle]
        bond = torch.arange(len(edges), device=edges.device).repeat_interleave(ways)
        within = torch.arange(len(bond), device=edges.device) - (ways.cumsum(0) - ways)[bond]
        step = begin[middle][bond] + within
        vectors = self.vectors[edges][bond] + self.vectors[step]
        back = torch.linalg.vector_norm(vectors.detach(), dim=1) < _BACK
        kept = (kind.matches(self)[self.sender[step]] & ~back).nonzero()[:, 0]
        return self.receiver[edges][bond][kept], vectors[kept]

    def describe(self, atom: int) -> str:
        """An atom of the batch with its bonds, for messages."""
        structure = int(self.graph.batch[atom])
        symbols = sorted(chemical_symbols[int(z)] for z in self.numbers[self.sender[self.receiver == atom]])
        kind = f"{chemical_symbols[int(self.numbers[atom])]}({','.join(symbols)})"
        first = int((self.graph.batch < structure).sum())
        return f"atom {atom - first} of structure {structure} of the batch, which is {kind}"

    def _refuse(self, atom: int, kind: Kind, there: int, wanted: int) -> None:
        raise ModelError(
            f"The local frame of {self.describe(atom)}, needs {wanted} atoms of the kind {kind.name}, but {there} "
            "can be meant. Write axes, or the row's own kind, with their bonds, as 'C(H,H,H,O)', or take another frame."
        )


def _number(symbol: str, name: str) -> int:
    if symbol not in atomic_numbers:
        raise ConfigError(f"'{name}': there is no element '{symbol}'.{did_you_mean(symbol, chemical_symbols[1:])}")
    return atomic_numbers[symbol]
