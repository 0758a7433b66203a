"""Multipole moments of the atoms of one molecule, given one by one, for one or many copies of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from ase.data import atomic_numbers
from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.errors import ConfigError, ModelError, did_you_mean
from eqff.heads.local_moments import FramedMultipoles, LocalMoments, PlacedMoments
from eqff.longrange.multipoles.scaling import PairScaling


@dataclass(frozen=True, kw_only=True)
class AtomMoments(LocalMoments):
    """One atom of the molecule.

    Attributes:
        element: Its symbol.
        axes: Places in the molecule, from 0, of the atoms that span its frame.
    """

    element: str
    axes: tuple[int, ...] = ()


class GivenMultipoles(FramedMultipoles):
    """Moments of each atom of a molecule, in local frames of atoms that are named by their places.

    For atoms that elements and bonds do not tell apart (else `eqff.heads.tabulated_multipoles`). Structures are copies
    of the molecule, one after the other, each with its atoms in this order; under periodic boundaries, of the nearest
    images.

    Args:
        atoms: A row for each atom: element, charge, dipole, quadrupole, frame and axes
            (`eqff.heads.local_moments.LocalMoments`).
        require_total: Whether a structure whose charges do not add up to its total charge is refused.

    Raises:
        ConfigError: A row that cannot be read, or moments that their frame does not fix.
    """

    def __init__(self, atoms: Sequence[Mapping[str, Any]], require_total: bool = True):
        super().__init__(require_total)
        self.rows = [AtomMoments.read(row, f"atoms.{place}") for place, row in enumerate(atoms)]
        if not self.rows:
            raise ConfigError("atoms is empty: give a row for each atom of the molecule.")
        for place, row in enumerate(self.rows):
            if row.element not in atomic_numbers:
                hint = did_you_mean(row.element, atomic_numbers)
                raise ConfigError(f"atoms.{place}: there is no element '{row.element}'.{hint}")
            others = set(range(len(self.rows))) - {place}
            if len(set(row.axes)) < len(row.axes) or not set(row.axes) <= others:
                raise ConfigError(
                    f"atoms.{place}: axes are {list(row.axes)}; give places of other atoms of the molecule, 0 to "
                    f"{len(self.rows) - 1}, each once."
                )

    def placed(self, graph: AtomicGraph) -> Iterator[PlacedMoments]:
        """See `FramedMultipoles.placed`."""
        size = len(self.rows)
        self._require_copies(graph)
        starts = torch.arange(0, graph.num_atoms, size, device=graph.batch.device)
        for place, row in enumerate(self.rows):
            centres = [_vectors(graph, starts + axis, starts + place) for axis in row.axes]
            empty = torch.zeros(len(starts), 0, 3, dtype=torch.float64, device=starts.device)
            yield PlacedMoments(row, starts + place, torch.stack(centres, dim=1) if centres else empty)

    def _require_copies(self, graph: AtomicGraph) -> None:
        """Raises ModelError where a structure is not made of copies of the molecule."""
        size = len(self.rows)
        numbers = torch.tensor([atomic_numbers[row.element] for row in self.rows], device=graph.batch.device)
        counts = torch.bincount(graph.batch, minlength=graph.num_structures)
        begin = (counts.cumsum(0) - counts)[graph.batch]
        place = torch.arange(graph.num_atoms, device=graph.batch.device) - begin
        wrong = (graph.numbers != numbers[place % size]) | (counts % size != 0)[graph.batch]
        if bool(wrong.any()):
            structure = int(graph.batch[wrong.nonzero()[0, 0]])
            raise ModelError(
                f"Structure {structure} of the batch, of {int(counts[structure])} atoms, is not made of copies of the "
                f"given molecule ({' '.join(row.element for row in self.rows)}), one after the other and in this order."
            )


def _vectors(graph: AtomicGraph, to: Tensor, start: Tensor) -> Tensor:
    return PairScaling(to, start, torch.ones(len(to), dtype=torch.float64, device=to.device)).vectors(graph)
