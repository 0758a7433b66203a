"""The elements' energies of a model that goes on with other data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from eqff.data.atomic_data import AtomicData
from eqff.evaluation.predictions import predict
from eqff.potential import Potential

SAMPLE = 2000
"""Frames that are predicted for it, evenly spread over the training set."""


def composition_errors(
    potential: Potential, frames: Sequence[AtomicData], elements: Sequence[int]
) -> tuple[dict[int, float], int]:
    """What to add to some elements' energies so that a model's errors have no linear trend in their numbers of atoms.

    Least squares over the training set, with the smallest corrections where its compositions leave some undetermined.

    Args:
        potential: The model as it begins.
        frames: The training set; those without an energy are passed over.
        elements: Whose energies may change.

    Returns:
        Atomic number to eV (empty if no frame has an energy), and how many combinations of them the frames determine.
    """
    step = max(len(frames) // SAMPLE, 1)
    known = [frame for frame in frames[::step] if "energy" in frame and bool(frame.energy.isfinite().all())]
    if not known or not elements:
        return {}, 0
    predicted = np.array([float(p.labels["energy"]) for p in predict(potential, known, labels=("energy",))])
    errors = np.array([float(frame.energy) for frame in known]) - predicted
    counts = np.array([[int((frame.numbers == number).sum()) for number in elements] for frame in known])
    shifts, _, rank, _ = np.linalg.lstsq(counts.astype(float), errors, rcond=None)
    return {number: float(shift) for number, shift in zip(elements, shifts, strict=True)}, int(rank)


def shifted(energies: Mapping[int, float], shifts: Mapping[int, float]) -> dict[int, float]:
    """Energies with shifts added; elements that are in one of both only count as zero in the other."""
    return {z: energies.get(z, 0.0) + shifts.get(z, 0.0) for z in sorted({*energies, *shifts})}
