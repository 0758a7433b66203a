"""Choosing structures from files: a pool or the trajectory of a simulation in, a file to be labelled out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from ase.io import write

from eqff.active.candidates import Candidates, describe, without
from eqff.active.strategies import STRATEGIES
from eqff.checkpoints.atomic import replacing
from eqff.data.atomic_data import AtomicData
from eqff.data.atoms import to_atoms
from eqff.errors import ConfigError, DataError, did_you_mean
from eqff.evaluation import evaluate_potential
from eqff.evaluation.clusters import with_clusters
from eqff.evaluation.predictions import Progress, without_labels
from eqff.potential import Potential


@dataclass(frozen=True)
class Selection:
    """What was chosen.

    Attributes:
        frames: In the order of choice, with whatever labels they had.
        indices: Of each in the pool.
        uncertainty: Of each, eV/Å; None where the model knows none.
        left: Structures of the pool that are neither chosen nor labelled already, each counted once.
        pool_uncertainty: Mean and largest uncertainty of what there was to choose from, eV/Å; None as above.
    """

    frames: list[AtomicData]
    indices: list[int]
    uncertainty: np.ndarray | None
    left: int
    pool_uncertainty: tuple[float, float] | None


def select(
    pool: Sequence[AtomicData],
    count: int,
    *,
    strategy: str = "uncertain_diverse",
    potential: Potential | None = None,
    known: Sequence[AtomicData] = (),
    errors: Sequence[AtomicData] = (),
    clusters: int = 8,
    seed: int = 0,
    batch_size: int = 32,
    progress: Progress | None = None,
) -> Selection:
    """Chooses structures that are worth a label; their labels, if they have any, are not looked at.

    Args:
        pool: To choose from; structures that are ``known``, and copies, are left out.
        count: How many; fewer if the pool has no more.
        strategy: A name of `STRATEGIES`.
        potential: The model; needed by every strategy but "random".
        known: Structures that have labels already.
        errors: Labelled structures whose errors say where the model is bad, for "worst_clusters".
        clusters: How many of them, for the same.
        seed: Of "random".
        batch_size: Structures at a time.
        progress: Is told the number of structures done.

    Raises:
        ConfigError: There is no such strategy, or it needs what is not given.
        DataError: The pool is empty, or everything in it is labelled already.
        ModelError: An element that the model does not cover.
    """
    if strategy not in STRATEGIES:
        raise ConfigError(f"There is no strategy '{strategy}'.{did_you_mean(strategy, STRATEGIES)}")
    if not pool:
        raise DataError("The pool has no structures: there is nothing to choose from.")
    indices = without(pool, known)
    if not indices:
        raise DataError(f"All {len(pool)} structures of the pool are labelled already: nothing is left to choose.")
    some = [pool[i] for i in indices]
    candidates = _candidates(some, potential, known, strategy, batch_size, progress)
    if errors and strategy == "worst_clusters" and potential is not None:
        candidates = _in_clusters(candidates, potential, errors, clusters, batch_size)
    chosen = STRATEGIES[strategy](candidates, count, np.random.default_rng(seed))
    doubts = candidates.uncertainty
    return Selection(
        frames=[some[i] for i in chosen],
        indices=[indices[i] for i in chosen],
        uncertainty=None if doubts is None else doubts[chosen],
        left=len(some) - len(chosen),
        pool_uncertainty=None if doubts is None else (float(doubts.mean()), float(doubts.max())),
    )


def _candidates(
    frames: Sequence[AtomicData],
    potential: Potential | None,
    known: Sequence[AtomicData],
    strategy: str,
    batch_size: int,
    progress: Progress | None,
) -> Candidates:
    if potential is not None:
        return describe(potential, frames, known, batch_size=batch_size, progress=progress)
    if strategy != "random":
        raise ConfigError(f"The strategy {strategy} needs a model. Give one, or take the strategy random.")
    return Candidates(np.zeros((len(frames), 1)), np.zeros((0, 1)))


def _in_clusters(
    candidates: Candidates,
    potential: Potential,
    errors: Sequence[AtomicData],
    clusters: int,
    batch_size: int,
) -> Candidates:
    """The candidates with the clusters of a labelled set that they fall into, and the squared errors there."""
    evaluation = evaluate_potential(potential, errors, batch_size=batch_size, outside="allow")
    found = with_clusters(evaluation, potential, clusters, batch_size).clusters
    if found is None or not found.quantity:
        raise DataError("worst_clusters: none of the structures given for errors has energies or forces.")
    samples = evaluation.samples[found.quantity]
    squares = np.nansum((samples.predicted - samples.reference) ** 2, axis=1)
    sums = np.bincount(found.label[samples.frame], weights=squares, minlength=clusters)
    return replace(candidates, cluster=found.assign(candidates.raw), cluster_error=sums)


def write_selection(path: str | Path, selection: Selection, *, labels: bool = False) -> Path:
    """Writes chosen structures as extxyz, with their place in the pool (``pool_index``) and ``uncertainty`` in eV/Å.

    Args:
        path: Of the file; whole or not at all.
        selection: What was chosen.
        labels: Whether to keep the labels that they have.
    """
    images = []
    for position, (index, frame) in enumerate(zip(selection.indices, selection.frames, strict=True)):
        atoms = to_atoms(frame if labels else _bare(frame))
        atoms.info["pool_index"] = index
        if selection.uncertainty is not None:
            atoms.info["uncertainty"] = float(selection.uncertainty[position])
        images.append(atoms)
    with replacing(path) as temporary:
        write(temporary, images, format="extxyz")
    return Path(path)


def _bare(frame: AtomicData) -> AtomicData:
    """Without labels, but with what it says of itself."""
    bare = without_labels(frame)
    for name in ("group", "config_type"):
        if name in frame:
            bare[name] = frame[name]
    return bare
