"""Files whose energies look like those of another level of theory, though nobody says so."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from eqff.data.energy_fit import EnergyFit
from eqff.data.energy_rows import WIDTH, EnergyRows
from eqff.data.moments import Moments

SAME_COMPOSITION_GAP = 0.3
"""eV/atom between two files for structures of the same composition and charge: more than isomers differ by."""
DIFFERENT_COMPOSITION_GAP = 5.0
"""eV/atom that one set of energies of the elements leaves where files share no composition: far beyond chemistry."""
RATIO = 6.0
"""Either of them in units of what is there within files."""
_COMPOSITIONS = 256  # that are watched, the first ones to come: memory stays bounded
_FILES = 50  # among which the odd one is looked for by fits
_MULTIPLIERS = np.random.default_rng(0).integers(2**62, size=WIDTH + 2)  # rows to 64-bit hashes, sums wrap around
_REMEDY = (
    "are files of several levels of theory (or units, or with energies of something subtracted) mixed? If so, correct "
    "them or say so: 'data.level_of_theory={FILE: NAME}'"
)

Source = tuple[str, str]
"""Level of theory as declared, and file."""


class SharedCompositions:
    """Energies per atom of structures of the same composition and total charge, file by file.

    Structures of one atom are left out: their spin states lie eV apart.
    """

    def __init__(self):
        self.energies: dict[tuple[str, bytes], dict[str, Moments]] = {}

    def add(self, rows: EnergyRows) -> None:
        """Takes a chunk."""
        rows = rows.where(~np.isnan(rows.energies) & (rows.sizes > 1))
        levels, level_index = np.unique(rows.levels, return_inverse=True)
        keys = np.column_stack([rows.counts, rows.charges, level_index.ravel()])
        _, first, owner = np.unique(keys @ _MULTIPLIERS, return_index=True, return_inverse=True)
        for number, kind in enumerate(keys[first]):
            key = (str(levels[kind[-1]]), kind[:-1].tobytes())
            if key in self.energies or len(self.energies) < _COMPOSITIONS:
                self._take(self.energies.setdefault(key, {}), rows.where(owner.ravel() == number))

    @staticmethod
    def _take(files: dict[str, Moments], rows: EnergyRows) -> None:
        for source in np.unique(rows.sources).tolist():
            own = rows.where(rows.sources == source)
            files.setdefault(source, Moments()).add(own.energies / own.sizes)

    def gaps(self) -> dict[str, Gap]:
        """How far each file that shares compositions with others lies from them."""
        found: dict[str, Gap] = {}
        for files in self.energies.values():
            for source, own in files.items():
                rest = Moments()
                for other, moments in files.items():
                    if other != source:
                        rest.join(moments)
                if rest.count:
                    found.setdefault(source, Gap()).add(own, rest)
        return found


@dataclass
class Gap:
    """Between a file and others, averaged over compositions.

    Attributes:
        compositions: How many are shared.
        frames: Of the file, with these compositions.
        total: Sum of signed differences in eV/atom: isomers differ in both directions, levels of theory in one.
        variance: Sum of squared spreads within files.
    """

    compositions: int = 0
    frames: int = 0
    total: float = 0.0
    variance: float = 0.0

    def add(self, own: Moments, rest: Moments) -> None:
        """Takes one composition."""
        self.compositions += 1
        self.frames += own.count
        self.total += own.mean - rest.mean
        self.variance += (own.spread**2 + rest.spread**2) / 2

    @property
    def mean(self) -> float:
        """eV/atom."""
        return self.total / self.compositions

    @property
    def spread(self) -> float:
        """Within files, eV/atom."""
        return math.sqrt(self.variance / self.compositions)


def odd_file_notes(fit: EnergyFit, shared: SharedCompositions) -> list[str]:
    """Lines on files that lie apart, by compositions that they share, else by fits of the elements; often none."""
    gaps = shared.gaps()
    odd = {f: g for f, g in gaps.items() if abs(g.mean) > max(SAME_COMPOSITION_GAP, RATIO * g.spread)}
    if odd:
        # where a file lies apart, all others lie apart from it: the one with the largest gap, the smaller one of two
        name, gap = max(odd.items(), key=lambda item: (round(abs(item[1].mean), 6), -item[1].frames))
        return [
            f"{name}: {gap.frames} frames lie {gap.mean:+.3f} eV/atom from frames of other files with the same "
            f"composition and charge ({gap.compositions} such), the spread within files is {gap.spread:.3f}: {_REMEDY}"
        ]
    return [] if gaps else _odd_by_fit(fit)


def _odd_by_fit(fit: EnergyFit) -> list[str]:
    """One fit of the elements for all files (of a level, where declared) against a fit for each."""
    sources = list(fit.sources)
    if len(sources) < 2:
        return []
    together, separate = fit.spread([]), fit.spread(sources)
    if together < max(DIFFERENT_COMPOSITION_GAP, RATIO * separate):
        return []
    text = f"one set of energies of the elements leaves {together:.3f} eV/atom, a set for each file {separate:.3f}"
    if len(sources) > _FILES:
        return [f"{text}: {_REMEDY}"]
    by_size = sorted(sources, key=lambda source: fit.sources[source])
    odd = min(by_size, key=lambda source: fit.spread([source]))
    return [f"{text}, and one for {odd[1]} beside one for all others {fit.spread([odd]):.3f}: {_REMEDY}"]
