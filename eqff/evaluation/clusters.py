"""Where the errors hide: structures that a model sees as alike, put together, with the errors of each such cluster."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase.formula import Formula
from scipy.spatial.distance import cdist

from eqff.data.atomic_data import AtomicData
from eqff.errors import ConfigError, DataError
from eqff.evaluation.evaluation import ByPart, Evaluation
from eqff.evaluation.features import learned_features, standardised
from eqff.evaluation.metrics import errors_by
from eqff.potential import Potential

SORTED_BY = ("forces", "energy_per_atom")
"""Quantities by which clusters are sorted, the worst first: the first of them that was compared."""

_SEED = 0  # of k-means: the same model and structures always give the same clusters


@dataclass(frozen=True)
class Clustering:
    """Structures in K clusters, the one with the largest errors first.

    Attributes:
        label: Cluster of each structure, (M,) from 0.
        centres: (K, D) in the model's features as they are, not standardised.
        features: (M, D) the same, of the structures.
        names: Of each cluster: its number, size and what most of it is.
        quantity: By whose errors they are sorted; "" if there were none.
        errors: Root mean square error of that quantity in each cluster, (K,); NaN where there are no labels.
    """

    label: np.ndarray
    centres: np.ndarray
    features: np.ndarray
    names: tuple[str, ...]
    quantity: str
    errors: np.ndarray

    def assign(self, features: np.ndarray) -> np.ndarray:
        """The nearest cluster of other structures: features (P, D) to (P,)."""
        both = np.concatenate([features, self.centres])
        scaled = standardised(both, self.features)
        others, centres = scaled[: len(features)], scaled[len(features) :]
        return cdist(others, centres).argmin(axis=1)


def k_means(features: np.ndarray, count: int) -> np.ndarray:
    """Clusters by k-means on standardised features [Lloyd, IEEE Trans. Inf. Theory 28, 129 (1982)].

    Args:
        features: (M, D).
        count: K.

    Returns:
        (M,) from 0.

    Raises:
        ConfigError: scikit-learn is not installed.
        DataError: There are fewer structures than clusters.
    """
    try:
        from sklearn.cluster import KMeans
    except ImportError as error:
        raise ConfigError(
            f"clusters={count} needs scikit-learn, which is not installed: pip install 'eqff[clusters]'"
        ) from error
    if len(features) < count:
        raise DataError(f"clusters={count} is more than the {len(features)} structures that there are. Ask for fewer.")
    return KMeans(count, n_init=4, random_state=_SEED).fit_predict(standardised(features)).astype(int)


def with_clusters(evaluation: Evaluation, potential: Potential, count: int, batch_size: int = 32) -> Evaluation:
    """An evaluation with its errors by cluster, ``parts["cluster"]``, and the clusters themselves.

    Args:
        evaluation: Of this model.
        potential: The model, by whose learned features structures are compared.
        count: How many clusters.
        batch_size: Structures at a time.

    Raises:
        ConfigError: scikit-learn is not installed.
        DataError: There are fewer structures than clusters.
    """
    features = learned_features(potential, evaluation.frames, batch_size=batch_size)
    found = k_means(features, count)
    quantity = next((name for name in SORTED_BY if name in evaluation.samples), "")
    errors = _errors(evaluation, quantity, found, count)
    order = np.argsort(-np.nan_to_num(errors, nan=-1.0), kind="stable")
    label = np.argsort(order)[found]
    names = tuple(_name(i, [f for f, k in zip(evaluation.frames, label, strict=True) if k == i]) for i in range(count))
    centres = np.stack([features[label == i].mean(axis=0) for i in range(count)])
    clustering = Clustering(label, centres, features, names, quantity, errors[order])
    parts = evaluation.parts | {"cluster": _parts(evaluation, clustering)}
    return replace(evaluation, parts=parts, clusters=clustering)


def _errors(evaluation: Evaluation, quantity: str, label: np.ndarray, count: int) -> np.ndarray:
    """Root mean square errors of a quantity by cluster (K,), NaN where nothing is known."""
    errors = np.full(count, np.nan)
    if not quantity:
        return errors
    samples = evaluation.samples[quantity]
    for index in range(count):
        found = samples.errors(label[samples.frame] == index)
        errors[index] = np.nan if found is None else found.rmse
    return errors


def _parts(evaluation: Evaluation, clusters: Clustering) -> ByPart:
    """Errors of all quantities, cluster by cluster, the worst first."""
    names = np.asarray(clusters.names)[clusters.label]
    parts: ByPart = {name: {} for name in clusters.names}
    for quantity, samples in evaluation.samples.items():
        for name, errors in errors_by(samples, names[samples.frame]).items():
            parts[name][quantity] = errors
    return parts


def _name(index: int, frames: Sequence[AtomicData]) -> str:
    """For example ``1: 57 frames, mostly C2H6O, distorted``; "mostly" is said of more than half."""
    formulas = Counter(Formula.from_list(_symbols(frame)).format("hill") for frame in frames)
    kinds = Counter(str(frame.config_type) for frame in frames if "config_type" in frame and frame.config_type)
    common = [name for counter in (formulas, kinds) for name, n in counter.most_common(1) if 2 * n > len(frames)]
    text = f"{index + 1}: {len(frames)} frames"
    if common:
        return f"{text}, mostly {', '.join(common)}"
    return f"{text} of {len(formulas)} formulas" if len(formulas) > 1 else text


def _symbols(frame: AtomicData) -> list[str]:
    from ase.data import chemical_symbols

    return [chemical_symbols[int(z)] for z in frame.numbers]
