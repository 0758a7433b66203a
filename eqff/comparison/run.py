"""One run as a comparison sees it, wherever it was read from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from eqff.tracking.costs import Cost
from eqff.tracking.data_identity import DataIdentity

ERROR_KINDS = ("mae", "rmse", "max")

EVALUATED = "evaluated"
"""Section of the config of runs that are evaluations of a model or calculator, and no trainings: which one."""


class State(Enum):
    """How far a run has come."""

    FINISHED = "finished"
    INTERRUPTED = "interrupted"  # told to stop, and going to be resumed
    UNFINISHED = "unfinished"  # still running, or killed
    PRUNED = "pruned"  # ended by a search, because it fell behind


@dataclass(frozen=True)
class Run:
    """A training, or evaluations of something that was trained elsewhere.

    Attributes:
        source: Where it was read from: a folder, or a W&B path.
        name: As its config says.
        config: The resolved config.
        metrics: Of the weights that were kept; of an unfinished run those of its best validation so far.
        units: Of metrics, by full name (``test/forces_mae``).
        rows: Of metrics over the training, in order: ``step``, ``epoch``, ``cpu_seconds``, ``wall_seconds``, ...
        data: What it was trained and tested on.
        cost: What it has used.
        state: How far it has come.
        notes: What a reader has to know.
        provenance: Versions, commit and machine, as in ``run.json``.
        errors_by: Test set, kind of part ("group", "state", "element"), part, quantity, to "mae" and the like.
        predictions: Files of structures with labels and predictions, by test set.
    """

    source: str
    name: str
    config: Mapping[str, Any]
    metrics: Mapping[str, float] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    rows: Sequence[Mapping[str, Any]] = ()
    data: DataIdentity = field(default_factory=DataIdentity)
    cost: Cost = field(default_factory=Cost)
    state: State = State.FINISHED
    notes: Sequence[str] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    errors_by: Mapping[str, Mapping[str, Mapping[str, Mapping[str, Mapping[str, float]]]]] = field(default_factory=dict)
    predictions: Mapping[str, Path] = field(default_factory=dict)

    @property
    def short_source(self) -> str:
        """The last two parts of where it was read from."""
        return "/".join(Path(self.source).parts[-2:])

    @property
    def sets(self) -> tuple[str, ...]:
        """Sets that have metrics, in the order in which they stand there."""
        return tuple(dict.fromkeys(name.partition("/")[0] for name in self.metrics))


def quantity_of(metric: str) -> str:
    """``forces`` of ``test/forces_mae``; a name without a kind of error stays what it is."""
    name = metric.rpartition("/")[2]
    stem, _, kind = name.rpartition("_")
    return stem if kind in ERROR_KINDS else name
