"""The interaction of multipoles of one batch as a linear map: from moments to potential, field and field gradient."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.errors import ModelError
from eqff.longrange.interaction import OPEN_PAIRS, require_apart
from eqff.longrange.multipoles.damping import Damping, NoDamping
from eqff.longrange.multipoles.mesh import MultipoleMesh
from eqff.longrange.multipoles.moments import COMPONENTS, UPPER, LocalFields, Moments
from eqff.longrange.multipoles.nearby import NearbyPairs, taken_away
from eqff.longrange.multipoles.pairs import MultipolePairs
from eqff.longrange.multipoles.radial import smooth_origin
from eqff.longrange.multipoles.scaling import PairScaling
from eqff.longrange.multipoles.waves import MultipoleWaves
from eqff.longrange.padding import Padding
from eqff.longrange.periodic_sums import bind_by_size
from eqff.longrange.tuning import FADE, Splitting, cutoff_for
from eqff.nn.reduce import segment_sum
from eqff.units import COULOMB_CONSTANT

Sums = tuple[MultipoleWaves | MultipoleMesh, ...]


@dataclass(frozen=True)
class BoundMultipoles:
    """Bound to the geometry of a batch. Everything is float64 and differentiable.

    Attributes:
        graph: The batch.
        nearby: Pairs nearby, undamped.
        pairs: The same under damping and scaling.
        sums: Over wave vectors, each for some of the periodic structures.
        own: B_0(0), B_1(0), ... of what the sums hold of each moment in its own place; zero in open structures, (N, 3).
        accuracy: What may be left out.
    """

    graph: AtomicGraph
    nearby: NearbyPairs
    pairs: MultipolePairs
    sums: Sums
    own: Tensor
    accuracy: float

    @property
    def has_matrix(self) -> bool:
        """Whether `matrix` can be formed: not where a structure is summed on a mesh."""
        return all(part.has_matrix for part in self.sums)

    def rescaled(self, damping: Damping, scaling: PairScaling | None = None) -> BoundMultipoles:
        """The same geometry under another damping and scaling; lattice sums are shared."""
        count = len(self.pairs.chain)
        pairs = self.nearby.damped(damping, self.accuracy, count)
        if scaling is not None:
            pairs = pairs.joined(taken_away(self.graph, damping, scaling, count))
        return replace(self, pairs=pairs)

    def of_dipoles(self) -> BoundMultipoles:
        """The same for nothing but dipoles and their fields."""
        self._require_count(3)
        return replace(self, pairs=replace(self.pairs, chain=self.pairs.chain[:3]))

    def fields(self, moments: Moments, rank: int) -> LocalFields:
        """What all other moments, and all images, make at the place of each atom.

        Args:
            moments: At every atom.
            rank: 0 for the potential, 1 for the field too, 2 for its gradient too.
        """
        self._require_count(moments.rank + rank + 1)
        rows = moments.packed()
        fields = self.pairs.fields(rows, rank)
        if self.sums:
            fields = fields - self._own_fields(rows, rank)
        for part in self.sums:
            fields = fields + part.fields(rows, rank)
        return LocalFields.unpack(COULOMB_CONSTANT * fields)

    def dipole_fields(self, dipoles: Tensor) -> Tensor:
        """E in V/Å, (N, 3), from dipoles (N, 3) in e·Å alone; `fields` with less to do, for iterations."""
        self._require_count(3)
        fields = self.pairs.dipole_fields(dipoles)
        if self.sums:
            fields = fields + self.own[:, 1:2] * dipoles
            rows = torch.nn.functional.pad(dipoles, (1, 0))
        for part in self.sums:
            fields = fields + part.fields(rows, 1)[:, 1:]
        return COULOMB_CONSTANT * fields

    def dipole_energy(self, dipoles: Tensor) -> Tensor:
        """Energies in eV, (B,), of dipoles (N, 3) in e·Å alone: what `energy` does, with less to do."""
        self._require_count(3)
        batch, count = self.graph.batch, self.graph.num_structures
        energy = segment_sum(self.pairs.dipole_energy(dipoles), batch[self.pairs.first], count)
        if self.sums:
            own = 0.5 * self.own[:, 1] * dipoles.square().sum(dim=1)
            energy = energy - segment_sum(own, batch, count)
            rows = torch.nn.functional.pad(dipoles, (1, 0))
        for part in self.sums:
            energy = energy.index_add(0, part.structures, part.energy(rows))
        return COULOMB_CONSTANT * energy

    def energy(self, moments: Moments) -> Tensor:
        """Energies in eV, (B,): q phi - mu·E - Theta:(grad E)/3, halved, over all atoms."""
        self._require_count(2 * moments.rank + 1)
        rows, count = moments.packed(), self.graph.num_structures
        energy = segment_sum(self.pairs.energy(rows), self.graph.batch[self.pairs.first], count)
        if self.sums:
            energy = energy - segment_sum(self._own_energy(rows), self.graph.batch, count)
        for part in self.sums:
            energy = energy.index_add(0, part.structures, part.energy(rows))
        return COULOMB_CONSTANT * energy

    def matrix(self) -> tuple[Tensor, Padding]:
        """T with E = T mu for dipoles alone, V/(e·Å²): symmetric, (B, 3n, 3n), zero in empty places.

        Returns:
            The matrices, component 3 i + a for atom i and direction a, and where the atoms stand.
        """
        self._require_count(3)
        count, batch = self.graph.num_structures, self.graph.batch
        padding = Padding.of(torch.arange(count, device=batch.device), batch, count)
        size = padding.index.shape[1]
        place = torch.zeros_like(batch)
        place[padding.index[padding.mask]] = padding.mask.nonzero(as_tuple=True)[1]
        row, column = place[self.pairs.first], place[self.pairs.second]
        begin = batch[self.pairs.first] * size
        same = (batch * size + place) * size + place
        ways = torch.cat([(begin + row) * size + column, (begin + column) * size + row, same])
        eye = torch.eye(3, dtype=self.own.dtype, device=batch.device)
        both = self.pairs.dipole_blocks().repeat(2, 1, 1)
        blocks = torch.cat([both, self.own[:, 1, None, None] * eye])
        blocks = segment_sum(blocks, ways, count * size * size).reshape(count, size, size, 3, 3)
        for part in self.sums:
            block = part.dipole_blocks()
            room = size - block.shape[1]
            grown = torch.nn.functional.pad(block, (0, 0, 0, 0, 0, room, 0, room))
            blocks = blocks.index_add(0, part.structures, grown)
        return COULOMB_CONSTANT * blocks.transpose(2, 3).reshape(count, 3 * size, 3 * size), padding

    def _own_fields(self, rows: Tensor, rank: int) -> Tensor:
        # only even derivatives of the smooth part are there at its origin
        zero, one, two = self.own.unbind(dim=1)
        width = rows.shape[1]
        columns = [zero * rows[:, 0]]
        if rank >= 1:
            columns += [-one * rows[:, 1 + a] if width > 1 else torch.zeros_like(zero) for a in range(3)]
        if rank >= 2:
            trace = one * rows[:, 0]
            for place, (a, b) in enumerate(UPPER):
                value = trace if a == b else torch.zeros_like(zero)
                columns.append(value - 2 * two * rows[:, 4 + place] if width == COMPONENTS[2] else value)
        return torch.stack(columns, dim=1)

    def _own_energy(self, rows: Tensor) -> Tensor:
        zero, one, two = self.own.unbind(dim=1)
        energy = zero * rows[:, 0].square()
        if rows.shape[1] >= COMPONENTS[1]:
            energy = energy + one * rows[:, 1:4].square().sum(dim=1)
        if rows.shape[1] == COMPONENTS[2]:
            twice = rows.new_tensor([1.0 if a == b else 2.0 for a, b in UPPER])
            energy = energy + 2 * two * (rows[:, 4:].square() * twice).sum(dim=1)
        return 0.5 * energy

    def _require_count(self, count: int) -> None:
        there = len(self.pairs.chain)
        if count > there:
            raise ModelError(
                f"Multipoles were bound up to rank {(there - 1) // 2}, moments and fields together {there - 1}; what "
                f"is asked for needs {count - 1}."
            )


class MultipoleInteraction:
    """All pairs of open structures; Ewald's sum for periodic ones, on a mesh where they are large.

    Slabs and wires are treated as such (`eqff.longrange.lattice`). A charged three-dimensional cell has a uniform
    neutralising background; the surface term is left out (tin-foil).

    Args:
        damping: How overlapping moments interact, unless `bind` is given another; None for not at all damped.
        cutoff: Of neighbours in periodic structures, Å.
        accuracy: Error of lattice sums, relative to the force between unit charges at 1 Å.
        mesh_from: Periodic structures of this many atoms and more are summed on a mesh.
    """

    def __init__(
        self, damping: Damping | None = None, cutoff: float = 6.0, accuracy: float = 1e-6, mesh_from: int = 500
    ):
        self.damping, self.accuracy, self.mesh_from = damping or NoDamping(), accuracy, mesh_from
        self.splitting = Splitting.of(cutoff, accuracy)
        self.list_name = f"coulomb_{cutoff:g}".replace(".", "_")
        self.neighbour_lists = {OPEN_PAIRS: float("inf"), self.list_name: cutoff}

    def bind(
        self,
        graph: AtomicGraph,
        damping: Damping | None = None,
        scaling: PairScaling | None = None,
        rank: int = 2,
        field_rank: int | None = None,
    ) -> BoundMultipoles:
        """For the geometry of a batch; what does not depend on the damping is shared by all that bind to one graph.

        Args:
            graph: The batch, with the neighbour lists named in ``neighbour_lists``.
            damping: Bound to its atoms; by default the constructor's.
            scaling: Pairs that interact by another factor than 1.
            rank: Of the highest moments that will be given.
            field_rank: Of the highest fields that will be asked for; by default the same, as energies need it.

        Raises:
            ModelError: The geometry is none that it can treat.
        """
        damping = damping or self.damping
        nearby = graph.once((*self._settings, rank), lambda: self._nearby(graph, 2 * rank + 1))
        ways = MultipoleWaves, MultipoleMesh, self.mesh_from, self.splitting, self.accuracy
        sums, own = graph.once(self._settings, lambda: (bind_by_size(graph, *ways), self._own(graph)))
        if sums:
            self.require_reach(damping.extent(self.accuracy, graph.pbc.any(dim=1)[graph.batch]))
        count = 1 + rank + (rank if field_rank is None else field_rank)
        points = MultipolePairs(nearby.first, nearby.second, nearby.vectors, nearby.whole[:count])
        return BoundMultipoles(graph, nearby, points, sums, own, self.accuracy).rescaled(damping, scaling)

    @property
    def _settings(self) -> tuple[Hashable, ...]:
        """All that geometry is made with."""
        return "multipoles", self.list_name, self.splitting, self.accuracy, self.mesh_from

    def _nearby(self, graph: AtomicGraph, count: int) -> NearbyPairs:
        near, open_pairs = graph.edges[self.list_name], graph.edges[OPEN_PAIRS]
        for edges in (open_pairs, near):
            require_apart(edges, graph.batch, "interaction of multipoles")
        periodic = graph.pbc.any(dim=1)
        nearby = NearbyPairs.open(open_pairs, count)
        if bool(periodic.any()):
            nearby = nearby.joined(NearbyPairs.periodic(near, periodic[graph.batch], self.splitting, count))
        return nearby

    def _own(self, graph: AtomicGraph) -> Tensor:
        own = torch.tensor(smooth_origin(self.splitting.alpha, 3), dtype=torch.float64, device=graph.batch.device)
        return torch.where(graph.pbc.any(dim=1)[graph.batch][:, None], own, 0.0)

    def require_reach(self, extent: float) -> None:
        """Raises ModelError if damping that ends at ``extent`` (Å) is not over within the cutoff."""
        end = FADE * self.splitting.cutoff
        if extent > end:
            raise ModelError(
                f"Damping reaches {extent:.2f} Å, but neighbours in periodic structures are summed to {end:.2f} Å "
                f"({FADE:g} of the cutoff). Raise cutoff to {cutoff_for(extent):.1f} Å, or damp less."
            )
