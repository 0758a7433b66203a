"""Scores of uncertainties: errors drawn with known standard deviations, and those of evaluations."""

import json

import numpy as np
import pytest
import torch

from eqff.build import ModelContext, build_potential
from eqff.data.atoms import from_atoms
from eqff.errors import ModelError
from eqff.evaluation import evaluate_potential, figures, markdown, to_dict, write_report
from eqff.evaluation.calibration import (
    SHOWN,
    Doubts,
    calibration,
    calibrations,
    miscalibration_area,
    scales_of,
)
from eqff.evaluation.calibration_figure import binned
from eqff.evaluation.predictions import predict
from eqff.testing.structures import molecule
from eqff.uncertainty import Ensemble


def drawn(factor, seed=0, count=20000):
    """Errors whose standard deviation is ``factor`` times what was predicted."""
    rng = np.random.default_rng(seed)
    sigmas = np.exp(rng.normal(size=count))
    return Doubts(factor * sigmas * rng.normal(size=count), sigmas, "meV/Å")


@pytest.mark.parametrize("factor", [0.3, 1.0, 4.0])
def test_scale_is_the_factor_that_is_missing(factor):
    each = drawn(factor)
    score = calibration(each)
    # relative standard error of a standard deviation of M numbers: 1/sqrt(2M) = 0.005
    assert score.scale == pytest.approx(factor, rel=0.025)
    mended = calibration(Doubts(each.errors, score.scale * each.sigmas, each.unit))
    assert mended.scale == pytest.approx(1.0, abs=1e-12)
    assert mended.nll == pytest.approx(score.nll_scaled, rel=1e-12)
    assert score.nll_scaled <= score.nll and mended.miscalibration_area < 0.01


def test_the_scale_has_the_largest_likelihood():
    each = drawn(2.0)
    best = calibration(each)
    for other in (0.95, 1.05):
        assert calibration(Doubts(each.errors, other * best.scale * each.sigmas, "")).nll > best.nll_scaled


def test_area_between_coverages():
    assert miscalibration_area(np.zeros(100)) == pytest.approx(0.5, abs=0.01)  # uncertainties far too large
    assert miscalibration_area(np.full(100, 1e6)) == pytest.approx(0.5, abs=0.01)  # and far too small
    rng = np.random.default_rng(1)
    assert miscalibration_area(rng.normal(size=50000)) < 0.005


def test_uncertainties_that_say_nothing_rank_nothing():
    each = drawn(1.0)
    assert calibration(each).rank_correlation > 0.4
    shuffled = np.random.default_rng(2).permutation(each.sigmas)
    assert abs(calibration(Doubts(each.errors, shuffled, "")).rank_correlation) < 0.03


def test_bins_of_calibrated_uncertainties_lie_on_the_diagonal():
    sigma, error = binned(drawn(1.0))
    np.testing.assert_allclose(error, sigma, rtol=0.1)


CONFIG = {
    "backbone": {"_target_": "eqff.testing.minimal.MinimalBackbone", "channels": 4, "num_passes": 2},
    "terms": {"local": {"_target_": "eqff.terms.local.LocalEnergy", "hidden": 4}},
}
CONTEXT = ModelContext((1, 6, 7, 8), {1: -13.6, 6: -1030.0, 7: -1486.0, 8: -2042.0})


@pytest.fixture(scope="module")
def make_potential():
    """From a seed to a random model."""

    def make(seed):
        torch.manual_seed(seed)
        return build_potential(CONFIG, CONTEXT, torch.float64)

    return make


@pytest.fixture(scope="module")
def evaluated(make_potential):
    """An ensemble, and structures with the labels of another model."""
    truth, model = make_potential(7), Ensemble([make_potential(seed) for seed in range(3)])
    frames = [from_atoms(molecule(seed, 5)) for seed in range(8)]
    for frame, prediction in zip(frames, predict(truth, frames), strict=True):
        frame.energy = torch.tensor(prediction.labels["energy"]).reshape(1)
        frame.forces = torch.tensor(prediction.labels["forces"])
    return model, frames


def test_of_an_evaluation(evaluated):
    model, frames = evaluated
    predictions = predict(model, frames)
    found = calibrations(frames, predictions)
    errors = [p.labels["energy"] - float(f.energy) for p, f in zip(predictions, frames, strict=True)]
    z = np.ravel(errors) / np.ravel([p.uncertainties["energy_uncertainty"] for p in predictions])
    assert found["energy_per_atom"][1].scale == pytest.approx(np.sqrt(np.mean(z**2)), rel=1e-9)
    assert found["forces"][1].count == 8 * 5 * 3


def without(frames, field, count):
    """Copies of the frames, of which the first few lack a label."""
    copies = [frame.clone() for frame in frames]
    for frame in copies[:count]:
        frame[field] = torch.full_like(frame[field], torch.nan)
    return copies


@pytest.mark.parametrize("quantity", ["energy_per_atom", "forces"])
def test_structures_without_a_label_are_left_out(evaluated, quantity):
    model, frames = evaluated
    predictions = predict(model, frames)
    found = calibrations(without(frames, SHOWN[quantity], 3), predictions)
    expected = calibrations(frames[3:], predictions[3:])
    assert found[quantity][1] == expected[quantity][1]
    assert scales_of(without(frames, SHOWN[quantity], 3), predictions)[list(SHOWN).index(quantity)] == pytest.approx(
        expected[quantity][1].scale, rel=1e-12
    )


def test_where_labels_of_one_kind_are_missing_the_factor_of_the_other_holds(evaluated, caplog):
    model, frames = evaluated
    predictions = predict(model, frames)
    energy, forces = scales_of(frames, predictions)
    assert energy != pytest.approx(forces, rel=1e-3) and not caplog.text
    assert scales_of(without(frames, "forces", 8), predictions) == (energy, energy)
    assert "how good forces are: their uncertainty has the factor" in caplog.text
    assert scales_of(without(frames, "energy", 8), predictions) == (forces, forces)


def test_nothing_is_calibrated_by_numbers_that_are_not_finite(evaluated):
    """The factor would be NaN, and no uncertainty ever above a limit."""
    model, frames = evaluated
    predictions = predict(model, frames)
    predictions[2].labels["forces"][0] = np.nan
    with pytest.raises(ModelError, match=r"not finite for some of the structures held back \(.*frame"):
        scales_of(frames, predictions)


def test_in_reports(evaluated, tmp_path):
    model, frames = evaluated
    evaluation = evaluate_potential(model, frames)
    assert "Uncertainty" in markdown(evaluation) and "uncertainty" in figures(evaluation)
    files = write_report(evaluation, tmp_path)
    stored = json.loads(files["json"].read_text())["uncertainty"]
    assert stored["forces"]["count"] == 120 and stored["energy_per_atom"]["scale"] > 0
    assert "predicted_forces_uncertainty" in files["predictions"].read_text()


def test_without_uncertainties_nothing_is_reported(evaluated, make_potential):
    evaluation = evaluate_potential(make_potential(0), evaluated[1])
    assert "Uncertainty" not in markdown(evaluation) and "uncertainty" not in figures(evaluation)
    assert to_dict(evaluation)["uncertainty"] == {}
    alone = evaluate_potential(Ensemble([make_potential(0)]), evaluated[1])
    assert to_dict(alone)["uncertainty"] == {}
