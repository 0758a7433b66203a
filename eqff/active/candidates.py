"""What is known of structures without their labels: how uncertain a model is about them, and how alike they are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from eqff.data import fields as table
from eqff.data.atomic_data import AtomicData
from eqff.data.external import NAMES
from eqff.data.graph import FRAGMENTS
from eqff.evaluation.features import learned_features, standardised
from eqff.evaluation.predictions import Progress, predict
from eqff.potential import Potential


@dataclass(frozen=True)
class Candidates:
    """M structures to choose from.

    Attributes:
        features: What a model sees of each, (M, D), standardised over the candidates.
        known: The same of K structures that have labels already, (K, D).
        uncertainty: The largest uncertainty of a force on any of its atoms, eV/Å, (M,); None if the model knows none.
        raw: The features as the model gives them, (M, D'), to compare with those of other structures.
        cluster: Cluster of each among those of a labelled set, (M,); None where nobody asked.
        cluster_error: Sum of squared errors in each of these clusters, (C,).
    """

    features: np.ndarray
    known: np.ndarray
    uncertainty: np.ndarray | None = None
    raw: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    cluster: np.ndarray | None = None
    cluster_error: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def __len__(self) -> int:
        return len(self.features)


def describe(
    potential: Potential,
    frames: Sequence[AtomicData],
    known: Sequence[AtomicData] = (),
    *,
    batch_size: int = 32,
    progress: Progress | None = None,
) -> Candidates:
    """Candidates as a model sees them; labels are not read.

    Args:
        potential: The model; with uncertainties if a strategy is to use them.
        frames: To choose from.
        known: With labels already.
        batch_size: Structures at a time.
        progress: Is told the number of structures done.

    Raises:
        DataError: There are no structures.
        ModelError: An element that the model does not cover.
    """
    own = learned_features(potential, frames, batch_size=batch_size)
    others = learned_features(potential, known, batch_size=batch_size) if known else own[:0]
    doubt = None
    if getattr(potential, "uncertainties", ()):
        doubt = uncertainties(potential, frames, batch_size=batch_size, progress=progress)
    return Candidates(standardised(own), standardised(others, own) if len(others) else own[:0], doubt, own)


def uncertainties(
    potential: Potential, frames: Sequence[AtomicData], *, batch_size: int = 32, progress: Progress | None = None
) -> np.ndarray:
    """The largest uncertainty of a force on any atom of each structure, eV/Å, (M,); 0 where there is one atom alone."""
    found = predict(potential, frames, batch_size=batch_size, progress=progress)
    return np.array([float(p.uncertainties["forces_uncertainty"].max()) for p in found])


_STEP = 1e-4  # Å; files store five decimals and more
_WRITTEN = 8  # decimals of extxyz
_SHIFT = 0.178346  # of a step: numbers with up to eight decimals are on no edge, where rounding errors would decide


def identity(frame: AtomicData) -> str:
    """The same for the same structure in any file: elements, positions to 1e-4 Å, cell, charge and multiplicity, and an
    electric field, external charges or fragments where there are some."""
    digest = hashlib.sha256(frame.numbers.numpy().astype("<i8").tobytes())
    around = [name for name in ("electric_field", *NAMES) if name in frame and bool(frame[name].any())]
    for name in ("positions", "cell", *around):
        written = np.round(frame[name].numpy().astype(float), _WRITTEN)
        digest.update(np.floor(written / _STEP + _SHIFT).astype("<i8").tobytes())
    digest.update(frame.pbc.numpy().tobytes())
    digest.update(f"{float(frame.total_charge):g} {float(frame.multiplicity):g}".encode())
    for name in FRAGMENTS:
        if name in frame and bool((frame[name] != table.field(name).default).any()):
            digest.update(name.encode() + np.round(frame[name].numpy()).astype("<i8").tobytes())
    return digest.hexdigest()


def without(frames: Sequence[AtomicData], others: Iterable[AtomicData]) -> list[int]:
    """Indices of the frames that are not among others, each structure once."""
    seen = {identity(frame) for frame in others}
    kept = []
    for index, frame in enumerate(frames):
        if (key := identity(frame)) not in seen:
            seen.add(key)
            kept.append(index)
    return kept
