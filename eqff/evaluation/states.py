"""Which charge and spin states a set of structures holds, and which of them a model never saw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from eqff.data.atomic_data import AtomicData
from eqff.data.frame_sequence import as_frames

State = tuple[int, int]
"""Total charge in e and multiplicity 2S+1."""

_SPIN_NAMES = {1: "singlet", 2: "doublet", 3: "triplet", 4: "quartet", 5: "quintet", 6: "sextet", 7: "septet"}


def state_of(frame: AtomicData) -> State:
    """The charge and spin state of one structure."""
    return round(float(frame.total_charge)), round(float(frame.multiplicity))


def state_name(state: State) -> str:
    """For tables, for example ``"+1 doublet"``."""
    charge, multiplicity = state
    charge_text = f"{charge:+d}" if charge else "0"
    return f"{charge_text} {_SPIN_NAMES.get(multiplicity, f'2S+1={multiplicity}')}"


def count_states(frames: Sequence[AtomicData]) -> list[dict[str, int]]:
    """Frames per state, as model files keep it under ``states``: total_charge, multiplicity, frames."""
    counts: Counter[State] = Counter()
    for columns in as_frames(frames).chunks():
        charges, spins = (np.rint(columns.values[name]) for name in ("total_charge", "multiplicity"))
        counts.update(zip(charges.astype(int).tolist(), spins.astype(int).tolist(), strict=True))
    return [
        {"total_charge": charge, "multiplicity": multiplicity, "frames": count}
        for (charge, multiplicity), count in sorted(counts.items())
    ]


def unseen_states(frames: Iterable[AtomicData], training: Mapping[str, Any]) -> dict[State, int]:
    """The states among ``frames`` that a model was not trained on, with their numbers of frames.

    Args:
        frames: Structures.
        training: Of the model's metadata; without the entry ``states`` nothing is known, and nothing is unseen.
    """
    if not training.get("states"):
        return {}
    seen = {(int(row["total_charge"]), int(row["multiplicity"])) for row in training["states"]}
    return {state: count for state, count in sorted(Counter(map(state_of, frames)).items()) if state not in seen}
