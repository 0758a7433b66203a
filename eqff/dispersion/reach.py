"""Whether a Fermi function between short and long range has ended within the neighbours of periodic structures."""

from __future__ import annotations

import math

from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.errors import ModelError
from eqff.longrange.tuning import FADE, Splitting

TAIL = 1e5
"""By how much it has fallen at the end of the neighbours."""


def require_reach(
    graph: AtomicGraph, radii: Tensor, scale: float, steepness: float, splitting: Splitting, what: str
) -> None:
    """Raises ModelError if 1 - f, f = 1 / (1 + exp(-a (r/S - 1))), reaches beyond the neighbours that are summed.

    Args:
        graph: The batch; structures without periodicity have all their pairs.
        radii: R of atoms in Å, (N,).
        scale: beta or s_R of S = scale (R_i + R_j).
        steepness: a.
        splitting: Of the lattice sums.
        what: Whose damping it is, for the message.
    """
    inside = graph.pbc.any(dim=1)[graph.batch]
    if not bool(inside.any()):
        return
    largest = 2 * scale * float(radii.detach()[inside].max())
    # 1 - f falls as exp(-a (r/S - 1)), and multiplies an interaction that has fallen as 1/r³ or 1/r⁶ there
    reach, end = largest * (1 + math.log(TAIL) / steepness), FADE * splitting.cutoff
    if reach > end:
        raise ModelError(
            f"Damping of {what} reaches {reach:.1f} Å for the largest radii of the batch (S = {largest:.2f} Å), but "
            f"neighbours in periodic structures are summed to {end:.1f} Å ({FADE:g} of the cutoff). Raise cutoff to "
            f"{math.ceil(reach / FADE)} Å."
        )
