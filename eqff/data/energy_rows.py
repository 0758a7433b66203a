"""What reference energies are fitted from: of each structure only its composition, charge, energy and origin."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols

from eqff.data.atomic_data import AtomicData

WIDTH = len(chemical_symbols)
"""Columns of a table of compositions: one for each atomic number, from 0."""


@dataclass(frozen=True)
class EnergyRows:
    """F structures, as a chunk of a set that need not fit into memory.

    Attributes:
        counts: Atoms of each atomic number, (F, `WIDTH`) int64.
        charges: Total charges in e, (F,) int64.
        energies: eV, (F,) float64; NaN where unknown.
        levels: Level of theory of each, (F,) str; empty where none is declared.
        sources: File of each, (F,) str.
    """

    counts: np.ndarray
    charges: np.ndarray
    energies: np.ndarray
    levels: np.ndarray
    sources: np.ndarray

    def __len__(self) -> int:
        return len(self.energies)

    @property
    def sizes(self) -> np.ndarray:
        """Atoms of each structure, (F,)."""
        return self.counts.sum(axis=1)

    def with_energies(self) -> EnergyRows:
        """Those whose energy is known."""
        return self.where(~np.isnan(self.energies))

    def where(self, chosen: np.ndarray) -> EnergyRows:
        """Those that a mask (F,) selects."""
        columns = (self.counts, self.charges, self.energies, self.levels, self.sources)
        return EnergyRows(*(column[chosen] for column in columns))

    @classmethod
    def of(cls, frames: Iterable[AtomicData]) -> EnergyRows:
        """Of structures in memory."""
        frames = list(frames)
        sizes = [frame.num_nodes for frame in frames]
        numbers = np.concatenate([frame.numbers.numpy() for frame in frames]) if frames else np.empty(0, np.int64)
        energies = [float(frame.energy) if "energy" in frame else np.nan for frame in frames]
        charges = [float(frame.total_charge) for frame in frames]
        levels = [level_of_theory(frame) for frame in frames]
        return cls.from_arrays(numbers, sizes, charges, energies, levels, [frame.source for frame in frames])

    @classmethod
    def from_arrays(
        cls,
        numbers: np.ndarray,
        sizes: Sequence[int],
        charges: Sequence[float],
        energies: Sequence[float],
        levels: Sequence[str],
        sources: Sequence[str],
    ) -> EnergyRows:
        """Of structures laid end to end: atomic numbers (N,), and of each structure its size and the rest, (F,)."""
        owner = np.repeat(np.arange(len(sizes)), sizes)
        flat = np.bincount(owner * WIDTH + np.asarray(numbers, dtype=np.int64), minlength=len(sizes) * WIDTH)
        return cls(
            flat.reshape(len(sizes), WIDTH),
            np.rint(np.asarray(charges, dtype=np.float64)).astype(np.int64),
            np.asarray(energies, dtype=np.float64),
            np.asarray(levels, dtype=str),
            np.asarray(sources, dtype=str),
        )


def level_of_theory(frame: AtomicData) -> str:
    """The level of theory that a frame declares, empty if it declares none."""
    return getattr(frame, "level_of_theory", "")
