"""What a model has learned to see in a structure, as one vector: to compare structures the way that the model does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from eqff.data.atomic_data import AtomicData
from eqff.errors import DataError, ModelError
from eqff.evaluation.predictions import graph_for, parts_of, require_known_elements
from eqff.nn.reduce import segment_sum
from eqff.potential import Potential

SCALARS = "pass_scalars"


def learned_features(potential: Potential, frames: Sequence[AtomicData], *, batch_size: int = 64) -> np.ndarray:
    """Mean and standard deviation, over the atoms of a structure, of the backbone's scalars after every pass.

    The mean is what decides the energy per atom; the standard deviation tells structures apart whose atoms differ more
    than their average does, as a molecule with one stretched bond. Neither depends on position, rotation or the order
    of atoms.

    Args:
        potential: The model; of an ensemble, the first member.
        frames: M structures; labels are not read.
        batch_size: Structures at a time.

    Returns:
        (M, D), without unit.

    Raises:
        DataError: There are no structures.
        ModelError: An element that the model does not cover, or a model without a backbone of eqff.
    """
    if not frames:
        raise DataError("There are no structures to compute features of.")
    require_known_elements(potential, frames)
    one = next(iter(getattr(potential, "members", [potential])))
    return np.concatenate([_of_batch(one, part) for part in parts_of(frames, batch_size)])


def _of_batch(potential: Potential, frames: list[AtomicData]) -> np.ndarray:
    graph = graph_for(potential, frames)
    with torch.no_grad():
        fields = potential.energy(graph)[1]
    if SCALARS not in fields:
        raise ModelError(
            "Structures can't be compared by this model: it gives no scalars of atoms. Take a model that was trained "
            "with eqff."
        )
    values = fields[SCALARS].detach().flatten(1).to(torch.float64)
    return _mean_and_deviation(values, graph.batch, len(frames)).cpu().numpy()


def _mean_and_deviation(values: Tensor, owner: Tensor, count: int) -> Tensor:
    """Of rows (N, D) that belong to structures (N,): (count, 2 D)."""
    sizes = segment_sum(torch.ones_like(values[:, :1]), owner, count)
    mean = segment_sum(values, owner, count) / sizes
    variance = segment_sum((values - mean[owner]).square(), owner, count) / sizes
    return torch.cat([mean, variance.sqrt()], dim=1)


def standardised(features: np.ndarray, reference: np.ndarray | None = None) -> np.ndarray:
    """Features with zero mean and unit variance over a reference set; what never changes there is left out.

    Args:
        features: (M, D).
        reference: (K, D); by default the features themselves.

    Returns:
        (M, D') divided by the root of D', so that distances don't grow with the number of features.
    """
    reference = features if reference is None else reference
    mean, deviation = reference.mean(axis=0), reference.std(axis=0)
    kept = deviation > 1e-8 * np.abs(reference).max(axis=0, initial=1e-30)
    if not kept.any():
        return np.zeros((len(features), 1))
    return (features[:, kept] - mean[kept]) / deviation[kept] / np.sqrt(kept.sum())
