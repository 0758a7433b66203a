"""Tkatchenko and Scheffler's pairwise dispersion as a term."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.dispersion.all_pairs import AllPairs, pair_lists
from eqff.dispersion.free_atoms import FreeAtoms
from eqff.dispersion.tkatchenko_scheffler import ts_energy
from eqff.longrange.tuning import Splitting
from eqff.parts import Fields, Term
from eqff.ranges import InnerShare, Positive


class TkatchenkoScheffler(Term):
    """E = -1/2 sum_ij C6_ij f(r_ij) / r_ij⁶ with C6 = v² C6_free, R = v^(1/3) R_free [PRL 102, 073005 (2009)].

    All pairs of open structures; in periodic ones lattice sums without a cutoff, of slabs and wires too. Nothing in it
    is learned, so that it can be taken from labels and added at inference; volume ratios may be.

    Args:
        sr: s_R, at which multiple of R_i + R_j damping sets in; fitted to the functional: 0.94 for PBE, 0.96 for PBE0.
        elements: Atomic numbers covered (offered by the data).
        steepness: d of the Fermi function.
        volume_ratios: The field of Hirshfeld volume ratios v; None for free atoms, v = 1.
        free_atoms: Entries beside or instead of the table's: polarizability (Å³), C6 (eV·Å⁶), radius (Å) by element.
        cutoff: Of neighbours in periodic structures, Å.
        accuracy: Error of lattice sums, relative (see `eqff.longrange.tuning`).

    Raises:
        ConfigError: An element without free-atom data.
    """

    level = "atom"
    compiles = False

    def __init__(
        self,
        sr: Positive,
        elements: tuple[int, ...],
        steepness: Positive = 20.0,
        volume_ratios: str | None = None,
        free_atoms: Mapping[str | int, tuple[Positive, Positive, Positive]] | None = None,
        cutoff: Positive = 11.0,
        accuracy: InnerShare = 1e-6,
    ):
        super().__init__()
        self.reads = ("numbers", "positions") + ((volume_ratios,) if volume_ratios else ())
        self.sr, self.steepness, self.volume_ratios = sr, steepness, volume_ratios
        self.free_atoms = FreeAtoms(elements, free_atoms)
        self.splitting = Splitting.of(cutoff, accuracy)

    @property
    def neighbour_lists(self) -> dict[str, float]:
        """All pairs of open structures, neighbours of periodic ones."""
        return pair_lists(self.splitting.cutoff)

    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """Energies in eV, (N,)."""
        atoms = self.free_atoms(graph.numbers, fields[self.volume_ratios] if self.volume_ratios else None)
        pairs = AllPairs.of(graph, self.splitting.cutoff)
        return {"energy": ts_energy(graph, pairs, atoms, self.splitting, self.sr, self.steepness)}
