"""How uncertain a model is on structures like those it was trained on: what a threshold has to leave through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from eqff.evaluation.predictions import Prediction


@dataclass(frozen=True)
class UsualDoubt:
    """The largest uncertainty of the force on any atom of a structure, eV/Å, over many structures.

    Attributes:
        median: Of half of them it is larger.
        most: Of one in a hundred it is larger.
        largest: Of none it is larger.
        structures: How many.
    """

    median: float
    most: float
    largest: float
    structures: int

    def to_dict(self) -> dict[str, float]:
        """Plain numbers, units in the names."""
        units = {"median": "median_eV_per_A", "most": "percentile_99_eV_per_A", "largest": "largest_eV_per_A"}
        return {units.get(name, name): value for name, value in asdict(self).items()}


def usual_doubt(predictions: Sequence[Prediction]) -> UsualDoubt | None:
    """Of the predictions for structures that are like those of training; None if they have no uncertainties."""
    name = "forces_uncertainty"
    found = np.array([p.uncertainties[name].max() for p in predictions if name in p.uncertainties])
    if not len(found):
        return None
    return UsualDoubt(float(np.median(found)), float(np.quantile(found, 0.99)), float(found.max()), len(found))
