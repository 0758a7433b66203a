"""Errors by cluster: unlike structures come apart, bad ones come first, and parts add up to the whole."""

import json

import numpy as np
import pytest
import torch

from eqff.build import ModelContext, build_potential
from eqff.data.atoms import from_atoms
from eqff.errors import ConfigError, DataError
from eqff.evaluation import evaluate_potential, figures, markdown, write_report
from eqff.evaluation.cluster_figure import principal_components
from eqff.evaluation.clusters import with_clusters
from eqff.evaluation.features import learned_features, standardised
from eqff.evaluation.predictions import predict
from eqff.testing.structures import molecule

CONFIG = {
    "backbone": {"_target_": "eqff.testing.minimal.MinimalBackbone", "channels": 4, "num_passes": 2},
    "terms": {"local": {"_target_": "eqff.terms.local.LocalEnergy", "hidden": 4}},
}
CONTEXT = ModelContext((1, 6, 7, 8), {1: -13.6, 6: -1030.0, 7: -1486.0, 8: -2042.0})
KINDS = {1: 12, 2: 8, 3: 5}
"""Seed of a molecule to how many displaced copies of it there are."""


@pytest.fixture(scope="module")
def potential():
    torch.manual_seed(0)
    return build_potential(CONFIG, CONTEXT, torch.float64)


@pytest.fixture(scope="module")
def frames(potential):
    """Three molecules; forces of the second are off by 0.3 eV/Å, those of the third by 0.1."""
    rng, found = np.random.default_rng(0), []
    for seed, count in KINDS.items():
        atoms = molecule(seed, 4 + seed)
        for _ in range(count):
            moved = atoms.copy()
            moved.positions += 0.02 * rng.normal(size=moved.positions.shape)
            found.append(from_atoms(moved))
    wrong = np.repeat([0.0, 0.3, 0.1], list(KINDS.values()))
    for frame, prediction, error in zip(found, predict(potential, found), wrong, strict=True):
        frame.energy = torch.tensor(prediction.labels["energy"]).reshape(1)
        frame.forces = torch.tensor(prediction.labels["forces"]) + error
    return found


@pytest.fixture(scope="module")
def evaluation(potential, frames):
    pytest.importorskip("sklearn")
    return with_clusters(evaluate_potential(potential, frames), potential, 3)


def test_molecules_come_apart_and_the_worst_comes_first(evaluation):
    np.testing.assert_array_equal(evaluation.clusters.label, np.repeat([2, 0, 1], list(KINDS.values())))
    np.testing.assert_allclose(evaluation.clusters.errors, [300.0, 100.0, 0.0], atol=1e-6)
    assert evaluation.clusters.names[0].startswith("1: 8 frames, mostly ")


def test_parts_add_up(evaluation):
    parts = evaluation.parts["cluster"]
    for quantity, errors in evaluation.errors.items():
        assert sum(found[quantity].count for found in parts.values()) == errors.count
        mean = sum(found[quantity].count * found[quantity].mae for found in parts.values()) / errors.count
        assert mean == pytest.approx(errors.mae)


def test_others_go_to_their_like(evaluation, potential, frames):
    order = np.random.default_rng(0).permutation(len(frames))
    features = learned_features(potential, [frames[i] for i in order])
    np.testing.assert_array_equal(evaluation.clusters.assign(features), evaluation.clusters.label[order])


def test_in_reports(evaluation, tmp_path):
    assert "By cluster of learned features, the worst first" in markdown(evaluation)
    files = write_report(evaluation, tmp_path)
    stored = json.loads(files["json"].read_text())["by"]["cluster"]
    assert list(stored) == list(evaluation.clusters.names)
    assert files["clusters"].name == "test_clusters.png" and files["clusters"].stat().st_size > 1000


def test_without_labels_clusters_have_no_errors(potential, frames):
    pytest.importorskip("sklearn")
    bare = [from_atoms(molecule(seed, 5)) for seed in range(6)]
    evaluation = with_clusters(evaluate_potential(potential, bare), potential, 2)
    assert evaluation.clusters.quantity == "" and "clusters" not in figures(evaluation)


def test_more_clusters_than_structures(potential, frames):
    pytest.importorskip("sklearn")
    with pytest.raises(DataError, match="clusters=9 is more than the 3 structures"):
        with_clusters(evaluate_potential(potential, frames[:3]), potential, 9)


def test_without_scikit_learn(potential, frames, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sklearn.cluster", None)
    with pytest.raises(ConfigError, match=r"needs scikit-learn.*pip install 'eqff\[clusters\]'"):
        with_clusters(evaluate_potential(potential, frames[:5]), potential, 2)


def test_standardised_features_ignore_units_and_what_never_changes():
    features = np.random.default_rng(0).normal(size=(20, 4))
    features[:, 3] = 7.0
    scaled = standardised(features * [1.0, 1e3, 1e-5, 1.0] + 5.0)
    np.testing.assert_allclose(scaled, standardised(features), atol=1e-10)
    assert scaled.shape == (20, 3)
    np.testing.assert_allclose((scaled**2).sum(axis=1).mean(), 1.0)
    assert principal_components(features[:, :1]).shape == (20, 2)
