"""Structures whose energies are of another level of theory than the model's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from eqff.data.atomic_data import AtomicData
from eqff.data.differences import require_one_base
from eqff.data.energy_rows import level_of_theory
from eqff.data.levels import shifted
from eqff.potential import Potential

_REMEDY = "Give the base that the model lacks (base=...), or structures with labels from which it was subtracted"


def on_model_level(potential: Potential, frames: Sequence[AtomicData]) -> tuple[Sequence[AtomicData], list[str]]:
    """The structures with energies on the model's level of theory where the model file says how, and lines for people.

    Args:
        potential: With ``metadata``; without, nothing is known of its level.
        frames: Those that declare a level which the model was trained on beside its own are shifted, in copies.

    Raises:
        DataError: One can't be shifted, see `eqff.data.levels.shifted`; or only the model's energies or only the labels
            are differences to a base.
    """
    context = potential.metadata.model_context() if potential.metadata else None
    if context is None:
        return frames, []
    levels = Counter(map(level_of_theory, frames))
    require_one_base((context.level_of_theory, *levels), "The model and the structures", _REMEDY)
    if not context.level_of_theory:
        return frames, []
    notes, own = [], context.level_of_theory
    for level, count in levels.items():
        if level in context.level_offsets:
            notes.append(f"Energies of {count} frames at the level '{level}' were shifted onto the model's, '{own}'.")
        elif level not in ("", own):
            notes.append(
                f"{count} frames are at the level of theory '{level}', the model's energies at '{own}': energy errors "
                "hold the difference between the two."
            )
    if not context.level_offsets:
        return frames, notes
    return [shifted(frame, own, context.level_offsets) for frame in frames], notes
