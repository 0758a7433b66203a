"""The electrostatic potential of multipoles at points that are no atoms."""

from __future__ import annotations

import torch
from torch import Tensor

from eqff.data.graph import CONTACT, AtomicGraph
from eqff.errors import ModelError
from eqff.longrange.multipoles.moments import Moments
from eqff.longrange.multipoles.pairs import potential_of
from eqff.longrange.padding import Padding
from eqff.nn.reduce import segment_sum
from eqff.units import COULOMB_CONSTANT

PAIRS_AT_ONCE = 1 << 20
"""Of points and atoms, so that memory does not grow with the number of points."""


def potential_at(points: Tensor, structures: Tensor, graph: AtomicGraph, moments: Moments) -> Tensor:
    """Potential in V, (P,), of undamped moments; induced dipoles are added to the permanent ones before.

    Args:
        points: Å, (P, 3); away from the atoms.
        structures: Which structure's potential is taken at each point, (P,).
        graph: The batch.
        moments: Of its atoms.

    Raises:
        ModelError: A structure is periodic, or a point lies on an atom.
    """
    if bool(graph.pbc[structures].any()):
        raise ModelError("The potential at points is there for open structures only; this batch has periodic ones.")
    every = torch.arange(graph.num_structures, device=graph.batch.device)
    padding = Padding.of(every, graph.batch, graph.num_structures)
    places, rows = graph.positions.to(torch.float64), moments.packed()
    size = max(PAIRS_AT_ONCE // max(padding.index.shape[1], 1), 1)
    found = []
    for some, of_structures in zip(points.to(torch.float64).split(size), structures.split(size), strict=True):
        point, place = padding.mask[of_structures].nonzero(as_tuple=True)
        atom = padding.index[of_structures[point], place]
        vectors = some[point] - places[atom]
        _require_away(vectors, atom)
        found.append(segment_sum(potential_of(rows.index_select(0, atom), vectors), point, some.shape[0]))
    return COULOMB_CONSTANT * torch.cat(found)


def _require_away(vectors: Tensor, atom: Tensor) -> None:
    near = torch.linalg.vector_norm(vectors.detach(), dim=1) <= CONTACT
    if bool(near.any()):
        raise ModelError(
            f"A point lies on atom {int(atom[near][0])} of the batch, where the potential is infinite. Leave it out."
        )
