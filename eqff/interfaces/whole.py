"""Whether a model's energies are whole, or differences to a base method that has to be added."""

from __future__ import annotations

from eqff.data.differences import base_of
from eqff.errors import ModelError
from eqff.potential import Potential


def missing_base(potential: Potential) -> str | None:
    """The method that a potential's energies are differences to; None where they are whole."""
    metadata = potential.metadata
    return base_of(metadata.model_context().level_of_theory) if metadata else None


def require_whole(potential: Potential) -> None:
    """Raises ModelError where a potential gives differences to a base."""
    base = missing_base(potential)
    if base is not None:
        raise ModelError(
            f"This model was trained on labels minus {base}, and alone gives differences to it. Add it: base=... of "
            "eqff.evaluate and eqff.simulate, eqff.interfaces.delta.DeltaCalculator(model, base) in Python; or ask for "
            "the differences, model.calculator(difference=True)."
        )
