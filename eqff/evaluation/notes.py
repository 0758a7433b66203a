"""What a reader of an evaluation has to know: labels that are missing, states that the model never saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from eqff.data.atomic_data import AtomicData
from eqff.errors import ModelError
from eqff.evaluation.metrics import Samples
from eqff.evaluation.states import state_name, unseen_states
from eqff.outside import Outside, outside_rule
from eqff.potential import Potential


def label_notes(
    potential: Potential, frames: Sequence[AtomicData], present: tuple[str, ...], samples: Mapping[str, Samples]
) -> list[str]:
    """Lines on labels that frames or the model lack, states that it does not read, and numbers that are not finite."""
    notes = []
    if not samples:
        notes.append("No label that this model predicts is in the file: these are predictions without any comparison.")
    labelled = {sample.quantity.field: sample.labelled for sample in samples.values()}
    partly = [f"{name} on {count} of {len(frames)} frames" for name, count in labelled.items() if count < len(frames)]
    if partly:
        notes.append(f"Not every frame has every label: {', '.join(partly)}; errors are over those that have it.")
    unused = [name for name in present if name not in potential.predicts]
    if unused:
        notes.append(f"The file also has {', '.join(unused)}, which this model does not predict.")
    notes += _unread_state_notes(potential, frames)
    broken = [key for key, sample in samples.items() if not np.isfinite(sample.predicted).all()]
    if broken:
        notes.append(f"The model predicts numbers that are not finite: {', '.join(broken)}.")
    return notes


def outside_notes(potential: Potential, frames: Sequence[AtomicData], asked: Outside | None) -> list[str]:
    """What is said about states that training had not; an error where they are refused."""
    rule = outside_rule(potential, asked)
    unseen = unseen_states(frames, potential.metadata.training if potential.metadata else {})
    if rule == "allow" or not unseen:
        return []
    states = "; ".join(f"{state_name(state)} ({count} frames)" for state, count in unseen.items())
    text = (
        f"{sum(unseen.values())} of {len(frames)} frames are in charge and spin states that the model was not "
        f"trained on: {states}."
    )
    if rule == "refuse":
        raise ModelError(f"{text} Leave them out, take another model, or go on all the same: outside=warn.")
    return [f"{text} Its numbers for them are extrapolations."]


def _unread_state_notes(potential: Potential, frames: Sequence[AtomicData]) -> list[str]:
    notes = []
    read = {name for part in potential.ordered_parts().values() for name in part.reads}
    for name in ("total_charge", "multiplicity"):
        values = sorted({round(float(frame[name])) for frame in frames})
        if len(values) > 1 and name not in read:
            shown = ", ".join(map(str, values))
            notes.append(f"The frames differ in {name} ({shown}), which no part of the model reads.")
    return notes
