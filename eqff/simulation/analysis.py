"""What a trajectory says: means and drifts with their uncertainties, radial distribution functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from eqff.data.neighbours import neighbour_pairs
from eqff.tracking.plots import linear_drift

BLOCKS = 10
"""Into how many a run is cut: neighbouring rows are correlated, means of long blocks hardly are
[Flyvbjerg & Petersen, J. Chem. Phys. 91, 461 (1989)]."""


def mean_with_error(values: np.ndarray) -> tuple[float, float | None]:
    """A mean and its standard error, from the means of blocks; None as error with fewer than four rows to a block."""
    values = np.asarray(values, dtype=float)
    if len(values) < 4 * BLOCKS:
        return float(values.mean()), None
    means = [block.mean() for block in np.array_split(values, BLOCKS)]
    return float(values.mean()), float(np.std(means, ddof=1) / np.sqrt(BLOCKS))


@dataclass(frozen=True)
class Drift:
    """A line through an energy that should stay.

    Attributes:
        slope: meV/atom/ps.
        error: Its standard error, from the scatter of block means around the line; None for short runs.
        fluctuation: Standard deviation around the line, meV/atom.
    """

    slope: float
    error: float | None
    fluctuation: float


def drift(time: np.ndarray, energy: np.ndarray, num_atoms: int) -> Drift:
    """The drift of an energy in eV along a time in fs, (M,) each."""
    slope, offset = linear_drift(time, energy, num_atoms)
    picoseconds, change = np.asarray(time) / 1000, 1000 * (np.asarray(energy) - energy[0]) / num_atoms
    around = change - offset - slope * picoseconds
    error = None
    if len(change) >= 4 * BLOCKS:
        t, y = (np.array([b.mean() for b in np.array_split(v, BLOCKS)]) for v in (picoseconds, around))
        residual = y - np.polyval(np.polyfit(t, y, 1), t)
        error = float(np.sqrt((residual**2).sum() / (BLOCKS - 2) / ((t - t.mean()) ** 2).sum()))
    return Drift(slope, error, float(around.std()))


@dataclass(frozen=True)
class RadialDistributions:
    """How far atoms are apart, by pairs of elements.

    Attributes:
        radii: Middles of the bins, Å.
        pairs: Names such as "H-O" to g(r) (periodic structures), or to pairs per Å in a structure (others).
        periodic: Which of the two.
    """

    radii: np.ndarray
    pairs: Mapping[str, np.ndarray]
    periodic: bool


def radial_distributions(frames: Iterable[Atoms], largest: float = 6.0, bins: int = 120) -> RadialDistributions:
    """Radial distribution functions averaged over frames; images are counted, whatever the size of the cell.

    Args:
        frames: Of the same atoms, all or none of them periodic in three directions.
        largest: Å.
        bins: How many.
    """
    edges = np.linspace(0, largest, bins + 1)
    shells = 4 / 3 * np.pi * np.diff(edges**3)
    totals: dict[str, np.ndarray] = {}
    count, periodic = 0, True
    for atoms in frames:
        count, periodic = count + 1, bool(atoms.pbc.all())
        elements, species = np.unique(atoms.numbers, return_inverse=True)
        sender, receiver, shift = neighbour_pairs(atoms.positions, atoms.cell.array, atoms.pbc, largest)
        vectors = atoms.positions[sender] - atoms.positions[receiver] + shift @ atoms.cell.array
        lengths = np.linalg.norm(vectors, axis=1)
        for a, b in combinations_with_replacement(range(len(elements)), 2):
            chosen = (species[receiver] == a) & (species[sender] == b)
            found = np.histogram(lengths[chosen], edges)[0]
            ideal = (species == a).sum() * (species == b).sum() / atoms.cell.volume * shells if periodic else None
            name = f"{chemical_symbols[elements[a]]}-{chemical_symbols[elements[b]]}"
            share = found / ideal if periodic else found * (0.5 if a == b else 1.0) / np.diff(edges)
            totals[name] = totals.get(name, 0.0) + share
    pairs = {name: total / count for name, total in totals.items() if np.any(total)}
    return RadialDistributions((edges[1:] + edges[:-1]) / 2, pairs, periodic)
