"""What reference energies leave over, and whether that betrays files of another level of theory."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from eqff.data.energy_fit import EnergyFit
from eqff.data.energy_rows import EnergyRows
from eqff.data.reference_set import ReferenceSet

SUSPICIOUS_SPREAD = 0.5
"""eV/atom that one set of energies of the elements leaves: more than chemistry does."""
SUSPICIOUS_RATIO = 6.0
"""The same in units of what separate sets for the files leave."""
_MOST_FILES = 50  # among which the odd one is looked for
_REMEDY = (
    "are files of several levels of theory (or units, or with energies of something subtracted) mixed? If so, "
    "correct them or say so: data.level_of_theory={FILE: NAME}"
)


@dataclass
class Moments:
    """Number, mean and sum of squared deviations of values that come in chunks [Chan, Golub & LeVeque 1983]."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, values: np.ndarray) -> None:
        """Takes more values, (M,)."""
        if not len(values):
            return
        total, mean = self.count + len(values), float(values.mean())
        gap = mean - self.mean
        self.squares += float(((values - mean) ** 2).sum()) + gap**2 * self.count * len(values) / total
        self.mean += gap * len(values) / total
        self.count = total

    @property
    def spread(self) -> float:
        """Standard deviation."""
        return math.sqrt(self.squares / self.count) if self.count else 0.0


def residual_note(reference: ReferenceSet, chunks: Iterable[EnergyRows]) -> list[str]:
    """A line on how far energies lie above a reference; none if there are no energies."""
    left = Moments()
    for rows in chunks:
        left.add(reference.above(rows.with_energies()))
    if not left.count:
        return []
    text = f"energies lie {left.mean:+.4f} eV/atom above them, with a spread of {left.spread:.4f}"
    return [f"{text}, over {left.count} frames"]


def odd_source_note(fit: EnergyFit) -> list[str]:
    """A line if energies of the elements differ between files by so much that they look like several levels of theory.

    One fit for all files (of a level, where levels are declared) is compared with a fit for each. Structures of one
    atom are left out, for they lie eV above others, and charge states have energies of their own.
    """
    sources = list(fit.sources)
    if len(sources) < 2:
        return []
    together, separate = fit.spread([]), fit.spread(sources)
    if together < max(SUSPICIOUS_SPREAD, SUSPICIOUS_RATIO * separate):
        return []
    text = f"one set of energies of the elements leaves {together:.3f} eV/atom, a set for each file {separate:.3f}"
    if len(sources) > _MOST_FILES:
        return [f"{text}: {_REMEDY}"]
    by_size = sorted(sources, key=lambda source: fit.sources[source])
    odd = min(by_size, key=lambda source: fit.spread([source]))
    return [f"{text}, and one for {odd[1]} beside one for all others {fit.spread([odd]):.3f}: {_REMEDY}"]
