"""What near dipoles do to each other, as a preconditioner: far cheaper than the whole sum, and most of its effect."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from eqff.longrange.induction.catastrophe import CoupledPairs
from eqff.longrange.kernels import smooth_end
from eqff.longrange.multipoles.pairs import MultipolePairs
from eqff.longrange.multipoles.radial import bare_chain
from eqff.nn.reduce import segment_sum
from eqff.units import COULOMB_CONSTANT

REACH = 4.0
"""Å; pairs are faded out from half of it. Between 3 and 5 Å it made no difference to iterations of water."""

_BELOW_ONE = 0.95


def near_field(pairs: CoupledPairs) -> Callable[[Tensor], Tensor]:
    """K mu in V/Å, (N, 3): the field of near dipoles, times a factor so that 1 + √S K √S is positive, S = alpha / k_e.

    Then S + S K S is a positive preconditioner, S (1 - T S)^-1 to first order in near pairs. AMOEBA's programs do so
    with a constant factor; here it is the largest row sum of couplings, which bounds every eigenvalue (Gershgorin).
    """
    near, graph = pairs.bound.nearby, pairs.bound.graph
    chosen = (near.lengths < REACH).nonzero()[:, 0]
    first, second, lengths = near.first[chosen], near.second[chosen], near.lengths[chosen]
    fade = smooth_end(lengths, 0.5 * REACH, REACH)
    strengths = pairs.largest_couplings()[chosen] * fade
    sums = segment_sum(strengths, first, graph.num_atoms) + segment_sum(strengths, second, graph.num_atoms)
    largest = sums.new_zeros(graph.num_structures).scatter_reduce(0, graph.batch, sums, "amax")
    factor = (_BELOW_ONE / largest.clamp(min=_BELOW_ONE))[graph.batch[first]]
    scales = pairs.damping.scales(lengths, first, second, 3)
    chain = tuple(COULOMB_CONSTANT * factor * fade * s * b for s, b in zip(scales, bare_chain(lengths, 3), strict=True))
    kept = MultipolePairs(first, second, near.vectors[:, chosen].contiguous(), chain)
    return kept.dipole_fields
