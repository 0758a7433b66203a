"""The interaction of multipoles of one batch as a linear map: from moments to potential, field and field gradient."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.errors import ModelError
from eqff.longrange.interaction import OPEN_PAIRS, require_apart
from eqff.longrange.multipoles.damping import Damping, NoDamping
from eqff.longrange.multipoles.moments import LocalFields, Moments
from eqff.longrange.multipoles.pairs import MultipolePairs
from eqff.longrange.multipoles.radial import bare_chain
from eqff.longrange.multipoles.scaling import PairScaling
from eqff.longrange.padding import Padding
from eqff.longrange.tuning import Splitting
from eqff.nn.reduce import segment_sum
from eqff.units import COULOMB_CONSTANT


@dataclass(frozen=True)
class BoundMultipoles:
    """Bound to the geometry of a batch. Everything is float64 and differentiable.

    Attributes:
        pairs: Pairs nearby, and what is taken from excluded ones.
        batch: Structure of each atom, (N,).
        num_structures: B.
        rank: Of the highest moments and fields, 0 to 2.
    """

    pairs: MultipolePairs
    batch: Tensor
    num_structures: int
    rank: int

    def fields(self, moments: Moments, rank: int) -> LocalFields:
        """What all other moments, and all images, make at the place of each atom.

        Args:
            moments: At every atom.
            rank: 0 for the potential, 1 for the field too, 2 for its gradient too.
        """
        self._require_rank(max(moments.rank, rank))
        return LocalFields.unpack(COULOMB_CONSTANT * self.pairs.fields(moments.packed(), rank))

    def energy(self, moments: Moments) -> Tensor:
        """Energies in eV, (B,): q phi - mu·E - Theta:(grad E)/3, halved, over all atoms."""
        self._require_rank(moments.rank)
        structure = self.batch[self.pairs.first]
        return COULOMB_CONSTANT * segment_sum(self.pairs.energy(moments.packed()), structure, self.num_structures)

    def matrix(self) -> tuple[Tensor, Padding]:
        """T with E = T mu for dipoles alone, V/(e·Å²): symmetric, (B, 3n, 3n), zero in empty places; atoms in order.

        Returns:
            The matrices, component 3 i + a for atom i and direction a, and where the atoms stand.
        """
        self._require_rank(1)
        structures = torch.arange(self.num_structures, device=self.batch.device)
        padding = Padding.of(structures, self.batch, self.num_structures)
        size = padding.index.shape[1]
        place = torch.zeros_like(self.batch)
        place[padding.index[padding.mask]] = padding.mask.nonzero(as_tuple=True)[1]
        row, column = place[self.pairs.first], place[self.pairs.second]
        begin = self.batch[self.pairs.first] * size
        ways = torch.cat([(begin + row) * size + column, (begin + column) * size + row])
        blocks = segment_sum(self.pairs.dipole_blocks().repeat(2, 1, 1), ways, self.num_structures * size * size)
        matrix = blocks.reshape(-1, size, size, 3, 3).transpose(2, 3).reshape(-1, 3 * size, 3 * size)
        return COULOMB_CONSTANT * matrix, padding

    def _require_rank(self, rank: int) -> None:
        if rank > self.rank:
            raise ModelError(f"Multipoles were bound up to rank {self.rank}; rank {rank} is asked for.")


class MultipoleInteraction:
    """All pairs of open structures; Ewald's sum for periodic ones, on a mesh where they are large.

    Args:
        damping: How overlapping moments interact, unless `bind` is given another; None for not at all damped.
        cutoff: Of neighbours in periodic structures, Å.
        accuracy: What lattice sums may leave out, relative to the forces between unit charges at 1 Å.
        mesh_from: Number of atoms from which on periodic structures are summed on a mesh.
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
    ) -> BoundMultipoles:
        """For the geometry of a batch.

        Args:
            graph: The batch, with the neighbour lists named in ``neighbour_lists``.
            damping: Bound to its atoms; by default the constructor's.
            scaling: Pairs that interact by another factor than 1.
            rank: Of the highest moments and fields that will be asked for.

        Raises:
            ModelError: The geometry is none that it can treat.
        """
        damping = damping or self.damping
        if bool(graph.pbc.any()):
            raise ModelError("Multipoles of periodic structures are not summed yet.")
        edges = graph.edges[OPEN_PAIRS]
        require_apart(edges, graph.batch)
        half = (edges.sender < edges.receiver).nonzero()[:, 0]
        first, second = edges.receiver[half], edges.sender[half]
        vectors = -edges.vectors.to(torch.float64).index_select(0, half)
        chain = _damped(vectors, first, second, damping, 2 * rank + 1)
        pairs = MultipolePairs(first, second, vectors.T.contiguous(), chain)
        if scaling is not None:
            pairs = _joined(pairs, _taken_away(graph, damping, scaling, 2 * rank + 1))
        return BoundMultipoles(pairs, graph.batch, graph.num_structures, rank)


def _damped(vectors: Tensor, first: Tensor, second: Tensor, damping: Damping, count: int) -> tuple[Tensor, ...]:
    lengths = torch.linalg.vector_norm(vectors, dim=1)
    scales = damping.scales(lengths, first, second, count)
    return tuple(value * scale for value, scale in zip(bare_chain(lengths, count), scales, strict=True))


def _taken_away(graph: AtomicGraph, damping: Damping, scaling: PairScaling, count: int) -> MultipolePairs:
    """The scaled pairs as they would be without scaling, times their factor less 1."""
    vectors = scaling.vectors(graph)
    chain = _damped(vectors, scaling.first, scaling.second, damping, count)
    less = scaling.factor - 1
    return MultipolePairs(scaling.first, scaling.second, vectors.T.contiguous(), tuple(less * b for b in chain))


def _joined(one: MultipolePairs, two: MultipolePairs) -> MultipolePairs:
    return replace(
        one,
        first=torch.cat([one.first, two.first]),
        second=torch.cat([one.second, two.second]),
        vectors=torch.cat([one.vectors, two.vectors], dim=1),
        chain=tuple(torch.cat(both) for both in zip(one.chain, two.chain, strict=True)),
    )
