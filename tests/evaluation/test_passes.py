"""Errors after each pass of what exchanges write: numpy's, and a table of their own in reports."""

import numpy as np
import pytest
import torch

from eqff.build import ModelContext, build_potential
from eqff.data.atoms import from_atoms
from eqff.evaluation import evaluate_potential, markdown
from eqff.evaluation.predictions import predict
from eqff.testing.structures import one_of_each

CONFIG = {
    "backbone": {"_target_": "eqff.testing.minimal.MinimalBackbone", "channels": 4, "num_passes": 3},
    "exchanges": {"nse": {"_target_": "eqff.exchange.spin_equilibration.NeutralSpinEquilibration"}},
    "terms": {"local": {"_target_": "eqff.terms.local.LocalEnergy", "hidden": 4}},
}


@pytest.fixture
def potential():
    torch.manual_seed(0)
    return build_potential(CONFIG, ModelContext((1, 6, 7, 8), dict.fromkeys((1, 6, 7, 8), 0.0)), torch.float64)


def test_errors_after_each_pass(potential):
    frames = [from_atoms(atoms) for atoms in one_of_each().values()]
    predictions = predict(potential, frames, labels=("charges",), batch_size=2)
    rng, errors = np.random.default_rng(0), []
    for frame, prediction in zip(frames, predictions, strict=True):
        frame.charges = torch.tensor(rng.normal(size=frame.num_nodes))
        errors.append(prediction.passes["charges"] - frame.charges.numpy()[:, None])
    evaluation = evaluate_potential(potential, frames)
    expected = 1000 * np.abs(np.concatenate(errors)).mean(axis=0)
    found = [evaluation.parts["pass"][f"pass {index}"]["charges"].mae for index in (1, 2, 3)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert found[2] == pytest.approx(evaluation.errors["charges"].mae, rel=1e-12)
    assert "### By pass: MAE" in markdown(evaluation)
