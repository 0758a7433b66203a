"""The electrostatic potential of multipoles at points that are no atoms."""

from __future__ import annotations

import torch
from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.errors import ModelError
from eqff.longrange.multipoles.moments import Moments
from eqff.longrange.multipoles.pairs import potential_of
from eqff.longrange.padding import Padding
from eqff.nn.reduce import segment_sum
from eqff.units import COULOMB_CONSTANT


def potential_at(points: Tensor, structures: Tensor, graph: AtomicGraph, moments: Moments) -> Tensor:
    """Potential in V, (P,), of undamped moments; induced dipoles are added to the permanent ones before.

    Args:
        points: Å, (P, 3); away from the atoms.
        structures: Which structure's potential is taken at each point, (P,).
        graph: The batch.
        moments: Of its atoms.

    Raises:
        ModelError: A structure is periodic.
    """
    if bool(graph.pbc[structures].any()):
        raise ModelError("The potential at points is there for open structures only; this batch has periodic ones.")
    every = torch.arange(graph.num_structures, device=graph.batch.device)
    padding = Padding.of(every, graph.batch, graph.num_structures)
    point, place = padding.mask[structures].nonzero(as_tuple=True)
    atom = padding.index[structures[point], place]
    vectors = points.to(torch.float64)[point] - graph.positions.to(torch.float64)[atom]
    values = potential_of(moments.packed().index_select(0, atom), vectors)
    return COULOMB_CONSTANT * segment_sum(values, point, points.shape[0])
