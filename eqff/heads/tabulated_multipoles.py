"""Multipole moments by kind of atom: an element and what it is bonded to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eqff.data.graph import AtomicGraph
from eqff.errors import ConfigError, ModelError
from eqff.heads.bonded_kinds import Bonds, Kind
from eqff.heads.local_moments import FramedMultipoles, LocalMoments, PlacedMoments
from eqff.heads.molecules import BONDS, BondRule
from eqff.ranges import Positive


def _kinds(names: Iterable[str]) -> dict[str, Kind]:
    """From names as written to kinds.

    Raises:
        ConfigError: Two names mean the same kind, so that only one of their rows would count.
    """
    written: dict[Kind, str] = {}
    for name in names:
        kind = Kind.read(name)
        if kind in written:
            raise ConfigError(
                f"sites: '{written[kind]}' and '{name}' are the same kind of atom, {kind.name}. Keep one of their rows."
            )
        written[kind] = name
    return {name: kind for kind, name in written.items()}


@dataclass(frozen=True)
class BondedMoments(LocalMoments):
    """One row of the table.

    Attributes:
        axes: Kinds of the atoms that span the frame, in its order, each bonded to this atom; the second one of the
            frame z_then_x may instead be bonded to the first.
    """

    axes: tuple[str, ...] = ()


class TabulatedMultipoles(FramedMultipoles):
    """Moments of each kind of atom, in a local frame of atoms bonded to it, as in AMOEBA.

    A kind is an element ("O"), or one with all that it is bonded to ("C(H,H,H,O)"), which goes before the element.
    Bonds are those of `eqff.heads.molecules.Molecules`; where one breaks, kinds and so energies change at once.

    Args:
        sites: By kind: charge, dipole, quadrupole, frame and axes (`eqff.heads.local_moments.LocalMoments`).
        elements: Atomic numbers covered.
        stretch: Atoms are bonded within this times the sum of their covalent radii.
        alone: Elements that have no bonds, by symbol or atomic number: monatomic ions.
        require_total: Whether a structure whose charges do not add up to its total charge is refused.

    Raises:
        ConfigError: A kind or row that cannot be read, or moments that their frame does not fix.
    """

    def __init__(
        self,
        sites: Mapping[str, Mapping[str, Any]],
        elements: tuple[int, ...],
        stretch: Positive = 1.25,
        alone: Sequence[str | int] = (),
        require_total: bool = True,
    ):
        super().__init__(require_total)
        rows = {name: BondedMoments.read(row, f"sites.{name}") for name, row in sites.items()}
        if not rows:
            raise ConfigError("sites is empty: give a row for each kind of atom, by its element or as 'C(H,H,H,O)'.")
        # kinds with neighbours come first, and keep what they match
        self.kinds = sorted(((kind, rows[name]) for name, kind in _kinds(rows).items()), key=lambda pair: pair[0].plain)
        self.axes = {kind.name: [Kind.read(axis) for axis in row.axes] for kind, row in self.kinds}
        self.rule = BondRule.of(elements, stretch, alone)

    @property
    def neighbour_lists(self) -> dict[str, float]:
        """Up to the longest bond."""
        return {BONDS: self.rule.longest}

    def placed(self, graph: AtomicGraph) -> Iterator[PlacedMoments]:
        """See `FramedMultipoles.placed`."""
        bonds = Bonds.of(graph, self.rule)
        free = bonds.numbers > 0
        for kind, row in self.kinds:
            mine = free & kind.matches(bonds)
            free = free & ~mine
            if bool(mine.any()):
                atoms = mine.nonzero()[:, 0]
                yield PlacedMoments(row, atoms, bonds.vectors_to(atoms, self.axes[kind.name], row.definition.onward))
        if bool(free.any()):
            atom = int(free.nonzero()[0, 0])
            known = ", ".join(kind.name for kind, _ in self.kinds)
            raise ModelError(f"The table of multipoles has no row for {bonds.describe(atom)}. It has: {known}.")
