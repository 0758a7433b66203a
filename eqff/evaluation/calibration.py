"""Whether uncertainties are as large as errors: scores on structures with labels, and the factor that mends them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from scipy.stats import norm, spearmanr

from eqff.data.atomic_data import AtomicData
from eqff.errors import ModelError
from eqff.evaluation.metrics import collect
from eqff.evaluation.predictions import Prediction
from eqff.evaluation.quantities import quantities

SHOWN = {"energy_per_atom": "energy", "forces": "forces"}
"""Quantities that uncertainties are judged by, and the field of each."""
_WORDS = {"energy_per_atom": "energies", "forces": "forces"}

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Doubts:
    """Errors beside the uncertainties that were predicted for them, M numbers each, in one unit.

    Attributes:
        errors: Prediction minus label; of forces, components.
        sigmas: Predicted standard deviation of each, above zero.
        unit: Of both.
    """

    errors: np.ndarray
    sigmas: np.ndarray
    unit: str


@dataclass(frozen=True)
class Calibration:
    """How well uncertainties fit errors, were these normally distributed with them as standard deviation.

    Attributes:
        scale: The factor on the uncertainties that gives errors/uncertainties unit variance, which is also the one of
            largest likelihood; 1 if calibrated, above 1 where the model trusts itself too much.
        nll: Mean negative log likelihood, natural logarithm, of errors in the unit of `Doubts`; less is better.
        nll_scaled: The same, had the uncertainties been multiplied by ``scale``.
        miscalibration_area: Between the shares of errors expected and found inside of all central intervals [Kuleshov,
            Fenner & Ermon, ICML 80, 2796 (2018)]; 0 is best, 0.5 worst.
        rank_correlation: Spearman's, of uncertainties and absolute errors; no scale changes it. Even of perfect
            uncertainties it is well below 1, as errors are random.
        count: Numbers compared.
    """

    scale: float
    nll: float
    nll_scaled: float
    miscalibration_area: float
    rank_correlation: float
    count: int

    def to_dict(self) -> dict[str, float]:
        """Plain numbers for JSON."""
        return asdict(self)


def doubts(quantity: str, frames: Sequence[AtomicData], predictions: Sequence[Prediction]) -> Doubts | None:
    """Errors and uncertainties of one of `SHOWN`.

    Structures and numbers without a label are left out, and those with an uncertainty of exactly zero, as forces on
    atoms alone.

    Returns:
        None where all labels or uncertainties are missing.
    """
    field = SHOWN[quantity]
    name = f"{field}_uncertainty"
    both = zip(frames, predictions, strict=True)
    labelled = [(frame, p) for frame, p in both if frame.has(field) and name in p.uncertainties]
    if not labelled:
        return None
    frames, predictions = [frame for frame, _ in labelled], [p for _, p in labelled]
    shown = next(q for q in quantities(field) if q.name == quantity)
    samples = collect(shown, frames, predictions)
    scales = [shown.factor / (frame.num_nodes if shown.per_atom else 1) for frame in frames]
    sigmas = np.concatenate(
        [scale * np.atleast_1d(p.uncertainties[name]) for scale, p in zip(scales, predictions, strict=True)]
    )
    errors = samples.predicted - samples.reference
    sigmas = np.broadcast_to(sigmas[:, None], errors.shape)
    known = np.isfinite(samples.reference) & (sigmas != 0)
    return Doubts(errors[known], sigmas[known], shown.unit) if known.any() else None


def calibration(found: Doubts) -> Calibration:
    """The scores of errors against their uncertainties."""
    z = found.errors / found.sigmas
    scale = float(np.sqrt(np.mean(z**2)))
    constant = 0.5 * np.log(2 * np.pi) + np.log(found.sigmas).mean()
    varied = len(z) > 1 and np.ptp(found.sigmas) > 0 and np.ptp(np.abs(found.errors)) > 0
    return Calibration(
        scale=scale,
        nll=float(constant + 0.5 * scale**2),
        nll_scaled=float(constant + np.log(scale) + 0.5) if scale > 0 else float("-inf"),
        miscalibration_area=miscalibration_area(z),
        rank_correlation=float(spearmanr(found.sigmas, np.abs(found.errors)).statistic) if varied else float("nan"),
        count=len(z),
    )


def miscalibration_area(z: np.ndarray) -> float:
    """The area between expected and found coverage, for errors by their uncertainties (M,)."""
    expected = np.linspace(0, 1, 201)
    inside = np.searchsorted(np.sort(np.abs(z)), norm.ppf(0.5 * (1 + expected)), side="right") / len(z)
    return float(np.trapezoid(np.abs(inside - expected), expected))


def calibrations(
    frames: Sequence[AtomicData], predictions: Sequence[Prediction]
) -> dict[str, tuple[Doubts, Calibration]]:
    """Of energies per atom and forces, what there are labels and uncertainties for."""
    found = {name: doubts(name, frames, predictions) for name in SHOWN}
    return {name: (each, calibration(each)) for name, each in found.items() if each is not None}


def scales_of(frames: Sequence[AtomicData], predictions: Sequence[Prediction]) -> tuple[float, float]:
    """The factors on the uncertainties of energies and forces that a held-back set asks for.

    Energies are judged as a whole and not per atom: errors by uncertainties are the same. Where the set has labels of
    one kind only, its factor holds for the other too, and a log line says so: both follow from the same weights. 1
    where it has no labels at all.

    Raises:
        ModelError: Predictions or uncertainties are not finite: so would be the factor, and no limit ever be exceeded.
    """
    factors = {name: score.scale for name, (_, score) in calibrations(frames, predictions).items()}
    if not all(map(np.isfinite, factors.values())):
        broken = [frame.place for frame, p in zip(frames, predictions, strict=True) if not _is_finite(p)]
        raise ModelError(
            f"The model's numbers are not finite for some of the structures held back ({'; '.join(broken[:3])}), so "
            "that nothing can be calibrated by them. Leave these out, or train further."
        )
    for name in SHOWN:
        if factors and name not in factors:
            other, factor = next(iter(factors.items()))
            _log.warning(
                "No structure held back says how good %s are: their uncertainty has the factor %.3g of %s.",
                _WORDS[name],
                factor,
                _WORDS[other],
            )
            factors[name] = factor
    return factors.get("energy_per_atom", 1.0), factors.get("forces", 1.0)


def _is_finite(prediction: Prediction) -> bool:
    return all(np.isfinite(v).all() for v in (*prediction.labels.values(), *prediction.uncertainties.values()))
