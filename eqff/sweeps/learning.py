"""How errors fall with the size of the training set: runs on nested subsets, and the power law through their errors."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from eqff.comparison.rows import Spread
from eqff.comparison.run import Run
from eqff.errors import ConfigError
from eqff.sweeps.planning import Planned, composed

SIZE = "data.split.train"
OWN = ("sizes", "seeds", "metrics")


@dataclass(frozen=True)
class LearningCurve:
    """Errors over sizes.

    Attributes:
        runs: By size, then by seed; both ascend.
    """

    runs: Mapping[int, Mapping[int, Run]] = field(default_factory=dict)

    @property
    def all_runs(self) -> list[Run]:
        """Of all sizes and seeds."""
        return [run for seeds in self.runs.values() for run in seeds.values()]

    def errors(self, metric: str) -> dict[int, Spread]:
        """Mean and standard deviation over seeds of every size that has the metric."""
        spreads = {
            size: Spread.of([run.metrics[metric] for run in seeds.values() if metric in run.metrics])
            for size, seeds in self.runs.items()
        }
        return {size: spread for size, spread in spreads.items() if spread is not None}

    def power_law(self, metric: str) -> PowerLaw | None:
        """Error = amplitude × size^-exponent, fitted to logarithms; None with fewer than two sizes.

        A seed's subsets are nested, so its errors are not independent of each other: the spread is that of the
        exponents of single seeds.
        """
        points = [(size, spread.mean) for size, spread in self.errors(metric).items() if spread.mean > 0]
        if len(points) < 2:
            return None
        exponent, amplitude = _fit(points)
        seeds = dict.fromkeys(seed for found in self.runs.values() for seed in found)
        series = [
            [(size, found[seed].metrics[metric]) for size, found in self.runs.items() if _known(found, seed, metric)]
            for seed in seeds
        ]
        single = [_fit(points)[0] for points in series if len(points) == len(self.errors(metric))]
        spread = Spread.of(single)
        return PowerLaw(exponent, amplitude, spread.deviation if spread else None, len(single))


@dataclass(frozen=True)
class PowerLaw:
    """A fit.

    Attributes:
        exponent: Positive where errors fall.
        amplitude: Error at size 1, in the metric's unit.
        deviation: Standard deviation of the exponents of single seeds; None with fewer than two.
        seeds: How many those are.
    """

    exponent: float
    amplitude: float
    deviation: float | None
    seeds: int

    def __call__(self, size: np.ndarray) -> np.ndarray:
        """Errors at sizes."""
        return self.amplitude * np.asarray(size, dtype=float) ** -self.exponent

    def __str__(self) -> str:
        spread = "" if self.deviation is None else f" ± {self.deviation:.2f}"
        return f"{self.exponent:.2f}{spread}"


def _known(found: Mapping[int, Run], seed: int, metric: str) -> bool:
    return seed in found and found[seed].metrics.get(metric, 0.0) > 0


def _fit(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Exponent and amplitude by least squares of logarithms."""
    sizes, errors = np.log(np.array(points, dtype=float)).T
    slope, offset = np.polyfit(sizes, errors, 1)
    return float(-slope), float(math.exp(offset))


def take_own(argv: Sequence[str]) -> tuple[dict[str, list[Any]], list[str]]:
    """The values of ``sizes``, ``seeds`` and ``metrics``, each as ``[a,b]`` or ``a,b``, and the other arguments.

    Raises:
        ConfigError: A value is no whole number, or sizes are missing.
    """
    own: dict[str, list[Any]] = {}
    rest = []
    for text in argv:
        key, equals, value = text.partition("=")
        if key in OWN and equals:
            own[key] = [word.strip() for word in value.strip("[]").split(",") if word.strip()]
        else:
            rest.append(text)
    sizes = _whole("sizes", own.get("sizes", []), 1)
    if len(sizes) < 2:
        raise ConfigError("sizes: give two or more numbers of training structures, such as sizes=100,200,400.")
    seeds = _whole("seeds", own.get("seeds", ["0"]), 0)
    if not seeds:
        raise ConfigError("seeds: give one or more, such as seeds=0,1,2.")
    return {"sizes": sizes, "seeds": seeds, "metrics": own.get("metrics", [])}, rest


def _whole(name: str, words: Sequence[str], least: int) -> list[int]:
    for word in words:
        if not word.isdigit() or int(word) < least:
            raise ConfigError(f"{name}: '{word}' is no whole number from {least}. Give {name}=100,200 or so.")
    return sorted({int(word) for word in words})


def plan_curve(argv: Sequence[str], sizes: Sequence[int], seeds: Sequence[int], folder: Path) -> list[Planned]:
    """A run for every size and seed, the largest first: what doesn't fit shows at once.

    A seed is that of the weights and of the order of batches; also of the choice of the subset, where validation and
    tests have files of their own, unless ``data.split.seed`` is given. Where they are split off the training file, all
    runs keep one split, so that all are judged by the same structures.

    Args:
        argv: What all runs have in common.
        sizes: Numbers of training structures.
        seeds: Whole numbers.
        folder: Of the sweep.

    Raises:
        ConfigError: The settings don't let subsets be taken.
    """
    taken = [text for text in argv if text.lstrip("+").startswith((f"{SIZE}=", "seed=", "data.seed="))]
    if taken:
        raise ConfigError(f"'{taken[0]}': sizes and seeds of a learning curve are given as sizes=... and seeds=...")
    data = composed(argv)["data"]
    split = data.get("split") or {}
    if split.get("file") is not None:
        raise ConfigError(
            "data.split.file: of a published split no subsets are taken. Give files: data.path, data.val."
        )
    if split.get("by") is not None:
        raise ConfigError("data.split.by: whole groups don't make nested subsets. Give data.val=FILE, and no by.")
    own_subsets = data.get("val") is not None and not split.get("test") and not _gives_split_seed(argv, split)
    runs = []
    for size in sorted(sizes, reverse=True):
        for seed in seeds:
            own = [f"{SIZE}={size}", f"seed={seed}", f"data.seed={seed}"]
            own += [f"data.split.seed={seed}"] if own_subsets else []
            name = f"train-{size}_seed-{seed}"
            runs.append(Planned(name, (*argv, *own), folder / name))
    return runs


def _gives_split_seed(argv: Sequence[str], split: Mapping[str, Any]) -> bool:
    """Whether the user has chosen the seed of the split, by itself or with a data set of theirs."""
    if any(text.lstrip("+").startswith("data.split.seed=") for text in argv):
        return True
    return split["seed"] != composed(["data.path=any"])["data"]["split"]["seed"]


def choice_of_subsets(curve: LearningCurve) -> str:
    """Whether seeds took other subsets, in a sentence: what the spread over seeds does and does not hold."""
    chosen = {seed: run.config["data"]["split"]["seed"] for found in curve.runs.values() for seed, run in found.items()}
    if len(chosen) < 2:
        return ""
    if len(set(chosen.values())) > 1:
        return "Each seed has subsets of its own."
    return f"All seeds have the same subsets (data.split.seed={min(chosen.values())}): ± holds nothing of their choice."


def not_nested(curve: LearningCurve) -> list[str]:
    """Which subsets don't hold the next smaller one of their seed; none if all is well."""
    notes = []
    indices = {
        (size, seed): _training(Path(run.source)) for size, found in curve.runs.items() for seed, run in found.items()
    }
    for (size, seed), larger in indices.items():
        smaller = [other for other, seeds in curve.runs.items() if other < size and seed in seeds]
        if smaller and not indices[max(smaller), seed] <= larger:
            notes.append(f"The {size} structures of seed {seed} don't hold its {max(smaller)}.")
    return notes


def _training(folder: Path) -> set[int]:
    return set(json.loads((folder / "splits.json").read_text(encoding="utf-8"))["train"])
