"""The interaction of multipoles of one batch as a linear map: from moments to potential, field and field gradient."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.errors import ModelError
from eqff.longrange.multipoles.damping import Damping
from eqff.longrange.multipoles.mesh import MultipoleMesh
from eqff.longrange.multipoles.moments import COMPONENTS, UPPER, LocalFields, Moments
from eqff.longrange.multipoles.nearby import NearbyPairs, taken_away
from eqff.longrange.multipoles.pairs import MultipolePairs
from eqff.longrange.multipoles.scaling import PairScaling
from eqff.longrange.multipoles.waves import MultipoleWaves
from eqff.longrange.padding import Padding
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
