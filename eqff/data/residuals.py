"""What reference energies leave over, by file and charge state: a file that lies apart may be of another level."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from eqff.data.charge_reference import signed
from eqff.data.energy_rows import EnergyRows
from eqff.data.reference_set import ReferenceSet

SUSPICIOUS_GAP = 0.25
"""eV/atom between the means of two files: more than what chemistry leaves after a fit of the elements."""
SUSPICIOUS_RATIO = 6.0
"""The same gap in units of the spread within the files."""
_FEWEST = 5  # structures of a file, below which its mean says nothing


@dataclass
class Moments:
    """Number, mean and sum of squared deviations of values that come in chunks (Chan, Golub & LeVeque 1983)."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, count: int, mean: float, squares: float) -> None:
        """Takes the moments of more values."""
        total = self.count + count
        if total:
            gap = mean - self.mean
            self.squares += squares + gap**2 * self.count * count / total
            self.mean += gap * count / total
            self.count = total

    @property
    def spread(self) -> float:
        """Standard deviation."""
        return math.sqrt(self.squares / self.count) if self.count else 0.0


class Residuals:
    """Energies per atom above a reference, accumulated chunk by chunk.

    Args:
        reference: What is subtracted.
    """

    def __init__(self, reference: ReferenceSet):
        self.reference = reference
        self.all = Moments()
        self.groups: dict[tuple[int, str], Moments] = {}

    def add(self, rows: EnergyRows) -> None:
        """Takes a chunk; structures of one atom count in the whole, but not by file, for they lie eV above others."""
        rows = rows.with_energies()
        above = self.reference.above(rows)
        self.all.add(*_moments(above))
        molecules = rows.sizes > 1
        keys = list(zip(rows.charges[molecules].tolist(), rows.sources[molecules].tolist(), strict=True))
        index = {key: number for number, key in enumerate(dict.fromkeys(keys))}
        owner = np.array([index[key] for key in keys], dtype=np.int64)
        for key, number in index.items():
            self.groups.setdefault(key, Moments()).add(*_moments(above[molecules][owner == number]))

    def notes(self) -> list[str]:
        """Lines for people; none if no structure had an energy."""
        if not self.all.count:
            return []
        text = f"energies lie {self.all.mean:+.4f} eV/atom above them, with a spread of {self.all.spread:.4f}"
        return [f"{text}, over {self.all.count} frames", *self._suspicions()]

    def _suspicions(self) -> list[str]:
        lines = []
        for charge in sorted({charge for charge, _ in self.groups}):
            files = {name: m for (q, name), m in self.groups.items() if q == charge and m.count >= _FEWEST}
            doubtful = sorted(files, key=lambda name: files[name].count)[: 1 if len(files) == 2 else None]
            for name, own in ((name, files[name]) for name in doubtful):
                rest = Moments()
                for other, moments in files.items():
                    if other != name:
                        rest.add(moments.count, moments.mean, moments.squares)
                gap, spread = own.mean - rest.mean, math.hypot(own.spread, rest.spread) / math.sqrt(2)
                if rest.count and abs(gap) > max(SUSPICIOUS_GAP, SUSPICIOUS_RATIO * spread):
                    lines.append(
                        f"{name}: its {own.count} frames of total charge {signed(charge)} lie {gap:+.3f} eV/atom from "
                        f"those of the other files, {abs(gap) / max(spread, 1e-6):.0f} times the spread within files "
                        f"({spread:.3f}): if they are of another level of theory, say so in data.levels.files"
                    )
        return lines


def _moments(values: np.ndarray) -> tuple[int, float, float]:
    if not len(values):
        return 0, 0.0, 0.0
    mean = float(values.mean())
    return len(values), mean, float(((values - mean) ** 2).sum())


def residual_notes(reference: ReferenceSet, chunks: Iterable[EnergyRows]) -> list[str]:
    """The lines of `Residuals` over all chunks."""
    residuals = Residuals(reference)
    for rows in chunks:
        residuals.add(rows)
    return residuals.notes()
