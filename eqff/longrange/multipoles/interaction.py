"""How multipoles are summed: all pairs of open structures, lattice sums of periodic ones."""

from __future__ import annotations

from collections.abc import Hashable

import torch
from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.errors import ModelError
from eqff.longrange.interaction import OPEN_PAIRS, require_apart
from eqff.longrange.multipoles.bound import BoundMultipoles
from eqff.longrange.multipoles.damping import Damping, NoDamping
from eqff.longrange.multipoles.mesh import MultipoleMesh
from eqff.longrange.multipoles.nearby import NearbyPairs
from eqff.longrange.multipoles.pairs import MultipolePairs
from eqff.longrange.multipoles.radial import smooth_origin
from eqff.longrange.multipoles.scaling import PairScaling
from eqff.longrange.multipoles.waves import MultipoleWaves
from eqff.longrange.periodic_sums import bind_by_size
from eqff.longrange.tuning import FADE, Splitting, cutoff_for


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
