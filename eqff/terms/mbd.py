"""Many-body dispersion as a term."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.dispersion.all_pairs import pair_lists
from eqff.dispersion.free_atoms import FreeAtoms
from eqff.dispersion.mbd.energy import many_body_dispersion
from eqff.dispersion.mbd.settings import MBDSettings
from eqff.longrange.tuning import Splitting
from eqff.parts import Fields, Term
from eqff.ranges import Count, InnerShare, Positive


class ManyBodyDispersion(Term):
    """MBD@rsSCS: oscillators at all atoms, coupled at long range.

    [Ambrosetti, Reilly, DiStasio and Tkatchenko, J. Chem. Phys. 140, 18A508 (2014)]

    Batched diagonalisation, N³ in time and N² in memory: for structures of up to some hundred atoms. Open structures
    and crystals, slabs and wires, whose dipole sums are Ewald's. Nothing in it is learned; volume ratios may be.

    Args:
        beta: Of the range separation; fitted to the functional: 0.83 for PBE, 0.85 for PBE0 and HSE06 (MBD@TS, without
            screening: 0.81 and 0.83).
        elements: Atomic numbers covered (offered by the data).
        steepness: a of the Fermi function.
        screening: Whether polarizabilities are screened at short range first (rsSCS).
        frequencies: Imaginary frequencies of the screening.
        volume_ratios: The field of Hirshfeld volume ratios v; None for free atoms, v = 1.
        free_atoms: Entries beside or instead of the table's: polarizability (Å³), C6 (eV·Å⁶), radius (Å) by element.
        q_grid: q points along each reciprocal vector of every periodic structure, for one crystal and for cells that
            change: with ``q_spacing`` the energy jumps, by what the sampling leaves out, where a cell gets one more.
        q_spacing: Without ``q_grid``, the largest distance of q points in 1/Å. None for q = 0 only, which is wrong for
            small cells.
        cutoff: Of neighbours in periodic structures, Å.
        accuracy: Error of lattice sums, relative (see `eqff.longrange.tuning`).
        max_memory: GiB, beyond which a batch is refused.

    Raises:
        ConfigError: An element without free-atom data.
    """

    level = "structure"
    compiles = False

    def __init__(
        self,
        beta: Positive,
        elements: tuple[int, ...],
        steepness: Positive = 6.0,
        screening: bool = True,
        frequencies: Count = 15,
        volume_ratios: str | None = None,
        free_atoms: Mapping[str | int, tuple[Positive, Positive, Positive]] | None = None,
        q_grid: tuple[Count, Count, Count] | None = None,
        q_spacing: Positive | None = 0.5,
        cutoff: Positive = 11.0,
        accuracy: InnerShare = 1e-6,
        max_memory: Positive = 8.0,
    ):
        super().__init__()
        self.reads = ("numbers", "positions") + ((volume_ratios,) if volume_ratios else ())
        self.volume_ratios = volume_ratios
        self.free_atoms = FreeAtoms(elements, free_atoms)
        self.settings = MBDSettings(
            beta=beta,
            steepness=steepness,
            screening=screening,
            frequencies=frequencies,
            grid=q_grid,
            spacing=None if q_grid is not None else q_spacing,
            splitting=Splitting.of(cutoff, accuracy),
            max_memory=max_memory,
        )

    @property
    def neighbour_lists(self) -> dict[str, float]:
        """All pairs of open structures, neighbours of periodic ones."""
        return pair_lists(self.settings.splitting.cutoff)

    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """Energies in eV, (B,)."""
        atoms = self.free_atoms(graph.numbers, fields[self.volume_ratios] if self.volume_ratios else None)
        return {"energy": many_body_dispersion(graph, atoms, self.settings).energy}
