"""Calibrated ensembles: their spread multiplied by what the errors on held-back structures ask for."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from eqff.data.atomic_data import AtomicData, fill_missing_labels
from eqff.errors import DataError, ModelError
from eqff.evaluation.calibration import scales_of
from eqff.evaluation.levels import on_model_level
from eqff.evaluation.predictions import predict
from eqff.potential import Potential
from eqff.uncertainty.ensemble import Ensemble

_log = logging.getLogger(__name__)


def calibrated(ensemble: Ensemble, held_back: Sequence[AtomicData], batch_size: int = 32) -> Ensemble:
    """The same ensemble with scales that give errors, divided by uncertainties, unit variance on held-back structures.

    Args:
        ensemble: Whatever scales it has are replaced.
        held_back: Structures with energies (and forces) that no member was trained on: their common validation set.
        batch_size: Structures at a time.

    Raises:
        DataError: None of the structures has an energy, or one at another level of theory, see `on_level`.
        ModelError: The members say the same everywhere, as one model alone or copies of one do.
    """
    held_back = on_level(ensemble, held_back)
    labels = [name for name in ("energy", "forces") if any(frame.has(name) for frame in held_back)]
    if "energy" not in labels:
        raise DataError(
            f"Calibration needs held-back structures with energies; none of the {len(held_back)} given has one."
        )
    fill_missing_labels(held_back)
    raw = Ensemble(ensemble.members, ensemble.names)
    predictions = predict(raw, held_back, labels=("energy", "forces"), batch_size=batch_size)
    spreads = np.array([float(p.uncertainties["energy_uncertainty"]) for p in predictions])
    if not spreads.any():
        raise ModelError(
            f"The {len(raw.members)} members say exactly the same: there is no spread to calibrate. Train them with "
            "different seeds (seed=0, seed=1, ...)."
        )
    return Ensemble(raw.members, raw.names, scales_of(held_back, predictions)).eval()


def on_level(potential: Potential, held_back: Sequence[AtomicData]) -> Sequence[AtomicData]:
    """Structures with energies on the model's level of theory; where that can't be known, a log line says so.

    Args:
        potential: The model, or what is made of several.
        held_back: With energies, which errors are taken from.

    Raises:
        DataError: Energies that can't be compared with the model's, see `eqff.evaluation.levels.on_model_level`.
    """
    frames, notes = on_model_level(potential, held_back)
    for note in notes:
        _log.warning("Structures held back: %s", note)
    return frames
