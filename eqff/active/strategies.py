"""Ways to choose structures that are worth a label; each takes candidates and how many, and gives their indices."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from eqff.active.candidates import Candidates
from eqff.errors import ConfigError

Strategy = Callable[[Candidates, int, np.random.Generator], list[int]]


def random(candidates: Candidates, count: int, rng: np.random.Generator) -> list[int]:
    """At random: what any other strategy has to be better than."""
    return rng.permutation(len(candidates))[:count].tolist()


def uncertain(candidates: Candidates, count: int, rng: np.random.Generator) -> list[int]:
    """The most uncertain ones [query by committee: Seung, Opper & Sompolinsky, COLT 287 (1992)].

    Neighbouring frames of one trajectory are all chosen together.
    """
    return np.argsort(-_doubts(candidates), kind="stable")[:count].tolist()


def diverse(candidates: Candidates, count: int, rng: np.random.Generator) -> list[int]:
    """Farthest-point sampling [Gonzalez, Theor. Comput. Sci. 38, 293 (1985)]: each is as unlike as can be to what is
    labelled or chosen already; uncertainties don't matter."""
    return _farthest(candidates, np.ones(len(candidates)), count)


def uncertain_diverse(candidates: Candidates, count: int, rng: np.random.Generator) -> list[int]:
    """Farthest-point sampling in which distances are multiplied by uncertainties, batch after batch.

    A batch thus has neither frames that the model knows nor several that are alike [the need for both: Zaverkin,
    Holzmüller, Steinwart & Kästner, Digit. Discov. 1, 605 (2022)].
    """
    return _farthest(candidates, _doubts(candidates), count)


def worst_clusters(candidates: Candidates, count: int, rng: np.random.Generator) -> list[int]:
    """From each cluster in proportion to its share of all squared errors of a labelled set; within it, the farthest.

    What a cluster can't give because it has too few candidates comes from the others.

    Raises:
        ConfigError: There is no labelled set whose errors could be clustered.
    """
    if candidates.cluster is None:
        raise ConfigError(
            "The strategy worst_clusters needs a labelled set whose errors say where the model is bad: give --errors "
            "FILE (in the loop, held_back)."
        )
    doubts = np.ones(len(candidates)) if candidates.uncertainty is None else candidates.uncertainty
    present = np.bincount(candidates.cluster, minlength=len(candidates.cluster_error))
    shares = quotas(candidates.cluster_error, present, count)
    chosen: list[int] = []
    for cluster, share in enumerate(shares):
        inside = np.flatnonzero(candidates.cluster == cluster)
        some = Candidates(candidates.features[inside], candidates.known)
        chosen += [int(inside[i]) for i in _farthest(some, doubts[inside], int(share))]
    return chosen


def quotas(errors: np.ndarray, present: np.ndarray, count: int) -> np.ndarray:
    """How many to take from each cluster: in proportion to errors (C,), at most what is present (C,), count in all.

    Returns:
        (C,) integers that sum to ``count``, or to all that are present.
    """
    weights = np.nan_to_num(errors, nan=0.0) + 1e-12 * (1.0 + np.nan_to_num(errors, nan=0.0).sum())
    taken = np.zeros(len(errors), dtype=int)
    for _ in range(min(count, int(present.sum()))):
        # one after the other to the cluster that is farthest behind its share [Webster's method]
        score = np.where(taken < present, weights / (taken + 0.5), -1.0)
        taken[int(score.argmax())] += 1
    return taken


STRATEGIES: dict[str, Strategy] = {
    "uncertain_diverse": uncertain_diverse,
    "uncertain": uncertain,
    "diverse": diverse,
    "worst_clusters": worst_clusters,
    "random": random,
}
"""By name, the default first."""

NEED_UNCERTAINTY = ("uncertain_diverse", "uncertain")


def _doubts(candidates: Candidates) -> np.ndarray:
    if candidates.uncertainty is None:
        raise ConfigError(
            "This strategy needs a model that knows how uncertain it is. Give several (an ensemble), or one with a "
            "last-layer estimate (python -m eqff.uncertainty model=RUN); or take the strategy diverse or random."
        )
    return candidates.uncertainty


def _farthest(candidates: Candidates, weights: np.ndarray, count: int) -> list[int]:
    """Greedy: the largest weight times distance to what is known or chosen. The first, where nothing is known, is the
    one of the largest weight; what coincides with something known comes last, by weight."""
    points, chosen = candidates.features, []
    distance = _to_nearest(points, candidates.known)
    left = np.ones(len(points), dtype=bool)
    for _ in range(min(count, len(points))):
        near = np.where(np.isinf(distance), 1.0, distance)
        score = np.where(left, weights * near + 1e-12 * weights, -np.inf)
        index = int(score.argmax())
        chosen.append(index)
        left[index] = False
        distance = np.minimum(distance, np.linalg.norm(points - points[index], axis=1))
    return chosen


def _to_nearest(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Distance of each point (M, D) to the nearest of others (K, D), (M,); infinite where there are none."""
    from scipy.spatial.distance import cdist

    return cdist(points, others).min(axis=1) if len(others) else np.full(len(points), np.inf)
