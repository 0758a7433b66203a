"""What many-body dispersion is computed with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eqff.longrange.tuning import Splitting


@dataclass(frozen=True)
class MBDSettings:
    """Settings of MBD@rsSCS [Ambrosetti et al., J. Chem. Phys. 140, 18A508 (2014)] and of its sums.

    Attributes:
        beta: Of the radii between short and long range, S = beta (R_i + R_j); fitted to a functional.
        steepness: a of the Fermi function 1 / (1 + exp(-a (r/S - 1))) between both.
        screening: Whether polarizabilities are screened at short range (rsSCS); without, this is MBD@TS.
        frequencies: Points of the quadrature over imaginary frequencies.
        grid: q points along each reciprocal vector; None for q = 0 only, or where ``spacing`` is given.
        spacing: Largest distance of q points, 1/Å.
        splitting: Of lattice sums.
        max_memory: GiB, beyond which a batch is refused.
    """

    beta: float
    steepness: float = 6.0
    screening: bool = True
    frequencies: int = 15
    grid: Sequence[int] | None = None
    spacing: float | None = None
    splitting: Splitting = Splitting.of(11.0, 1e-6)
    max_memory: float = 8.0
