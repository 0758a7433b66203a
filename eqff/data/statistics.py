"""Numbers that a model takes from its training set, and the fingerprint of that set."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from eqff.data.atomic_data import AtomicData
from eqff.data.energy_rows import EnergyRows
from eqff.data.reference_energies import elements_of
from eqff.data.reference_set import ReferenceSet


@dataclass
class DataStatistics:
    """What a model takes from its training set besides reference energies.

    Attributes:
        elements: Atomic numbers, ascending.
        energy_scale: eV; root mean square of the force components (per Å), or of energies per atom where there are
            none.
        mean_neighbours: Mean length of the local neighbour list; None before lists were built.
    """

    elements: tuple[int, ...]
    energy_scale: float
    mean_neighbours: float | None = None


def compute_statistics(frames: Sequence[AtomicData], reference: ReferenceSet) -> DataStatistics:
    """The statistics of a training set, given its reference energies."""
    return DataStatistics(elements_of(frames), _energy_scale(frames, reference))


def _energy_scale(frames: Sequence[AtomicData], reference: ReferenceSet) -> float:
    forces = [frame.forces for frame in frames if frame.has("forces")]
    values = torch.cat(forces).flatten() if forces else torch.from_numpy(reference.above(EnergyRows.of(frames)))
    values = values[~torch.isnan(values)]
    scale = float(values.square().mean().sqrt()) if len(values) else 0.0
    return scale if scale > 1e-8 else 1.0


def mean_neighbours(frames: Iterable[AtomicData]) -> float:
    """Mean number of neighbours of an atom in the local lists."""
    edges = atoms = 0
    for frame in frames:
        edges += frame.edge_index.shape[1]
        atoms += frame.num_nodes
    return edges / atoms


def content_hash(frames: Iterable[AtomicData]) -> str:
    """SHA-256 over structures and labels in their order; file names, groups and neighbour lists don't enter."""
    digest = hashlib.sha256()
    for frame in frames:
        names = ("numbers", "positions", "cell", "pbc", "total_charge", "multiplicity", *sorted(frame.labels))
        for name in names:
            if name not in frame.labels or frame.has(name):
                digest.update(name.encode())
                digest.update(frame[name].contiguous().numpy().tobytes())
    return digest.hexdigest()


def geometry_hash(frame: AtomicData) -> bytes:
    """Fingerprint of what a structure is, without its labels, to find the same frame in two sets."""
    digest = hashlib.blake2b(digest_size=16)
    for name in ("numbers", "positions", "cell", "total_charge", "multiplicity"):
        digest.update(frame[name].contiguous().numpy().tobytes())
    return digest.digest()
