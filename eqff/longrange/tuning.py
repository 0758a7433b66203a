"""How a lattice sum is split and where it is cut off, from one target accuracy."""

from __future__ import annotations

import math
from dataclasses import dataclass

FADE = 0.95
"""Share of the cutoff at which the sum over neighbours begins to fade out."""


@dataclass(frozen=True)
class Splitting:
    """1/r = erfc(a r)/r, summed over neighbours, + erf(a r)/r, summed over wave vectors.

    Attributes:
        alpha: a, in 1/Å.
        cutoff: Of the neighbours, Å.
        wave_cutoff: Of the wave vectors, 1/Å.
    """

    alpha: float
    cutoff: float
    wave_cutoff: float

    @classmethod
    def of(cls, cutoff: float, accuracy: float) -> Splitting:
        """Both parts end where a Gaussian has fallen to the accuracy.

        Neighbours are faded out over the last part of the cutoff, so that nothing jumps there; the Gaussian has to have
        ended where that begins.

        Args:
            cutoff: Å.
            accuracy: What is left out, relative to the forces between unit charges at 1 Å (rule of thumb; see
                docs/electrostatics.md for what was measured).
        """
        s = reach(accuracy)
        alpha = s / (FADE * cutoff)
        return cls(alpha=alpha, cutoff=cutoff, wave_cutoff=2 * alpha * s)


def cutoff_for(extent: float) -> float:
    """The cutoff in Å, to a tenth and not below, that leaves what reaches so far (Å) untouched by the fading."""
    return math.ceil(10 * extent / FADE) / 10


def reach(accuracy: float) -> float:
    """s with exp(-s²) = accuracy: how many widths a Gaussian charge reaches."""
    return math.sqrt(-math.log(accuracy))


MESH_ERRORS = {6: 9e-6, 8: 1e-6}
"""Error of forces at alpha · spacing = 0.3 by the order of the splines; see `mesh_spacing`."""


def mesh_spacing(splitting: Splitting, accuracy: float, order: int = 6) -> float:
    """Distance of mesh points in Å at which splines of an even order p cost about ``accuracy``.

    The error was measured at alpha · spacing from 0.15 to 0.6, and is about E (alpha · spacing / 0.3)^p throughout: for
    order 6 on charges in water and random ones, with E = 9e-6 of the forces between unit charges at 1 Å; for order 8 on
    random charges, dipoles and quadrupoles and on those of water, with E = 1e-6 of what they do to each other.
    """
    share = 0.3 * (accuracy / MESH_ERRORS[order]) ** (1 / order)
    return min(share, 0.6) / splitting.alpha
