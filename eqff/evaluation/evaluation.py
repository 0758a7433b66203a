"""How good a model is on a set of structures: errors over all, by element, by state, by group, and by pass."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.data import chemical_symbols

from eqff.data.atomic_data import AtomicData, fill_missing_labels
from eqff.errors import DataError
from eqff.evaluation.levels import on_model_level
from eqff.evaluation.metrics import Errors, Samples, collect, errors_by
from eqff.evaluation.notes import label_notes, outside_notes
from eqff.evaluation.predictions import Prediction, Progress, predict
from eqff.evaluation.quantities import Quantity, quantities
from eqff.evaluation.states import state_name, state_of
from eqff.outside import Outside
from eqff.potential import Potential

if TYPE_CHECKING:
    from eqff.evaluation.clusters import Clustering

MAX_GROUPS = 50
"""With more groups than this, errors by group are left out: they would be a list of structures."""

ByPart = dict[str, dict[str, Errors]]
"""Name of the part, name of the quantity, errors."""


@dataclass(frozen=True)
class Evaluation:
    """The outcome of `evaluate_potential`.

    Attributes:
        name: Of the set of structures.
        quantities: What was compared, by name, with units.
        errors: By quantity, over all labels.
        parts: "element", "state" and "group" to errors of each part of the set; "pass" to errors after each pass;
            "cluster" after `eqff.evaluation.clusters.with_clusters`.
        notes: What a reader has to know: labels that are missing, states that the model never saw...
        frames: The structures.
        predictions: One per structure.
        samples: All numbers that were compared, by quantity.
        seconds: Time that the predictions took.
        clusters: Structures that the model sees as alike; None where nobody asked for them.
        about: What was evaluated, where the report is to say it: ``model`` or ``calculator``, ``base``.
    """

    name: str
    quantities: dict[str, Quantity]
    errors: dict[str, Errors]
    parts: dict[str, ByPart]
    notes: tuple[str, ...]
    frames: Sequence[AtomicData]
    predictions: Sequence[Prediction]
    samples: dict[str, Samples]
    seconds: float
    clusters: Clustering | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def num_atoms(self) -> int:
        """Atoms in all structures."""
        return sum(frame.num_nodes for frame in self.frames)

    def metrics(self, split: str | None = None) -> dict[str, float]:
        """Flat, as they are logged: ``test/forces_mae`` and so on; ``split`` is the name of the set by default."""
        split = self.name if split is None else split
        return {
            f"{split}/{quantity}_{kind}": getattr(errors, kind)
            for quantity, errors in self.errors.items()
            for kind in ("mae", "rmse", "max")
        }

    def units(self) -> dict[str, str]:
        """Quantity to unit."""
        return {name: quantity.unit for name, quantity in self.quantities.items()}


def evaluate_potential(
    potential: Potential,
    frames: Sequence[AtomicData],
    *,
    name: str = "test",
    labels: Sequence[str] | None = None,
    batch_size: int = 32,
    outside: Outside | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Compares a model with the labels of some structures; without labels, only predicts.

    Args:
        potential: The model.
        frames: Structures with whatever labels they have; they stay as they are, but labels that only some of them have
            are filled up with NaN. Of those at another level of theory see `on_model_level`.
        name: Of the set, for tables and metric names.
        labels: The only labels to compare; by default all that the model predicts.
        batch_size: Structures at a time.
        outside: Of structures in charge and spin states that training had not: "refuse" raises, "warn" notes them,
            "allow" does neither; by default the model's own rule, "warn" if it has none.
        progress: Is told the number of structures done after each batch.

    Raises:
        DataError: There are no structures, or a label asked for is on none of them.
        ModelError: An element that the model does not cover, a label that it does not predict, or a state that training
            had not, under "refuse".
    """
    if not frames:
        raise DataError(f"There are no structures to evaluate in '{name}'.")
    state_notes = outside_notes(potential, frames, outside)
    frames, level_notes = on_model_level(potential, frames)
    present = fill_missing_labels(frames)
    compared = _compared_labels(potential, present, frames, labels)
    asked = tuple(dict.fromkeys(("energy", "forces", *_always(potential), *compared)))
    start = time.perf_counter()
    predictions = predict(potential, frames, labels=asked, batch_size=batch_size, progress=progress)
    seconds = time.perf_counter() - start
    shown = {quantity.name: quantity for label in compared for quantity in quantities(label)}
    samples = {key: collect(quantity, frames, predictions) for key, quantity in shown.items()}
    errors = {key: found for key, sample in samples.items() if (found := sample.errors()) is not None}
    return Evaluation(
        name=name,
        quantities={key: shown[key] for key in errors},
        errors=errors,
        parts=_parts(frames, samples) | {"pass": _by_pass(frames, predictions, samples)},
        notes=(*label_notes(potential, frames, present, samples), *state_notes, *level_notes),
        frames=frames,
        predictions=predictions,
        samples={key: samples[key] for key in errors},
        seconds=seconds,
    )


def _always(potential: Potential) -> tuple[str, ...]:
    """What comes with energy and forces at no cost: all but the derivatives by strain."""
    return tuple(name for name in potential.predicts if name not in ("stress", "virial"))


def _compared_labels(
    potential: Potential, present: tuple[str, ...], frames: Sequence[AtomicData], wanted: Sequence[str] | None
) -> tuple[str, ...]:
    known = tuple(name for name in present if any(frame.has(name) for frame in frames))
    for name in wanted or ():
        if name not in known:
            raise DataError(f"No frame has the label '{name}'; there are {', '.join(known) or 'no labels at all'}.")
    return tuple(wanted) if wanted else tuple(name for name in known if name in potential.predicts)


def _parts(frames: Sequence[AtomicData], samples: Mapping[str, Samples]) -> dict[str, ByPart]:
    """Errors by element (of what is per atom), by state, and by group where there are several."""
    symbols = np.asarray(chemical_symbols)[np.concatenate([frame.numbers.numpy() for frame in frames])]
    states = np.asarray([state_name(state_of(frame)) for frame in frames])
    groups = np.asarray([frame.group or "(no group)" for frame in frames])
    parts: dict[str, ByPart] = {"element": {}, "state": {}, "group": {}}
    some_groups = 1 < len(set(groups.tolist())) <= MAX_GROUPS
    for quantity, sample in samples.items():
        if sample.atom:
            _place(parts["element"], quantity, errors_by(sample, symbols))
        _place(parts["state"], quantity, errors_by(sample, states[sample.frame]))
        if some_groups:
            _place(parts["group"], quantity, errors_by(sample, groups[sample.frame]))
    return {kind: dict(sorted(found.items())) for kind, found in parts.items()}


def _by_pass(frames: Sequence[AtomicData], predictions: Sequence[Prediction], samples: Mapping[str, Samples]) -> ByPart:
    """Errors after each pass, of what exchanges write."""
    parts: ByPart = {}
    for name, sample in samples.items():
        label = sample.quantity.field
        passes = predictions[0].passes.get(label)
        for index in range(0 if passes is None else passes.shape[1]):
            after = [Prediction({label: prediction.passes[label][:, index]}) for prediction in predictions]
            errors = collect(sample.quantity, frames, after).errors()
            if errors is not None:
                _place(parts, name, {f"pass {index + 1}": errors})
    return parts


def _place(parts: ByPart, quantity: str, found: Mapping[str, Errors]) -> None:
    for name, errors in found.items():
        parts.setdefault(name, {})[quantity] = errors
