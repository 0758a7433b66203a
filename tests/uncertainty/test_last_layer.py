"""Last-layer estimates: linear algebra against its definition, growth away from training, files beside models."""

from copy import copy

import numpy as np
import pytest
import torch

import eqff
from eqff.checkpoints import load_model
from eqff.data.atoms import from_atoms
from eqff.errors import DataError, ModelError, ModelFileError
from eqff.evaluation.calibration import calibrations
from eqff.evaluation.predictions import predict
from eqff.potential import Potential
from eqff.terms.zbl import ZBLRepulsion
from eqff.testing.graphs import graph_of
from eqff.testing.structures import molecule
from eqff.uncertainty import Ensemble
from eqff.uncertainty.calibrating import calibrated
from eqff.uncertainty.estimate_file import UNCERTAINTY_FILE, load_estimate, save_estimate
from eqff.uncertainty.fitting import fit_last_layer
from eqff.uncertainty.last_layer import LastLayerEstimate, Posterior, local_term, structure_features


def shaken(size, count, seed):
    """One molecule with its atoms displaced at random."""
    rng, atoms = np.random.default_rng(seed), molecule(1, 6)
    frames = []
    for _ in range(count):
        moved = atoms.copy()
        moved.positions += size * rng.normal(size=(6, 3))
        frames.append(from_atoms(moved))
    return frames


def labelled(truth, frames):
    for frame, prediction in zip(frames, predict(truth, frames), strict=True):
        frame.energy = torch.tensor(prediction.labels["energy"]).reshape(1)
        frame.forces = torch.tensor(prediction.labels["forces"])
    return frames


@pytest.fixture(scope="module")
def estimate(make_potential):
    training = shaken(0.03, 40, 0)
    held_back = labelled(make_potential(5), shaken(0.03, 15, 1))
    # fixed: the labels are another random model's, so their errors don't say how well training constrains anything
    fitted = fit_last_layer(make_potential(0), training, held_back, regularisations=(1e-6,))
    return fitted, training, held_back


def test_the_readout_is_linear_in_its_last_layer(make_potential):
    potential = make_potential(0)
    graph = graph_of([molecule(1, 6), molecule(2, 4)], potential.neighbour_lists, torch.float64)
    energy, fields = potential.energy(graph)
    term = local_term(potential)
    weights = torch.cat([term.linear.weight[0], term.nonlinear[2].weight[0]]).double()
    base = torch.zeros(2, dtype=torch.float64).index_add(0, graph.batch, term.reference(graph.numbers))
    learned = structure_features(term, graph, fields) @ weights
    torch.testing.assert_close(base + learned, fields["energy_local"], rtol=1e-12, atol=1e-10)


def test_energy_uncertainty_is_the_quadratic_form(make_potential):
    potential = make_potential(0)
    size = local_term(potential).last_layer_size
    root = torch.randn(size, size, dtype=torch.float64)
    graph = graph_of([molecule(1, 6)], potential.neighbour_lists, torch.float64)
    features = structure_features(local_term(potential), graph, potential.energy(graph)[1])[0]
    found = LastLayerEstimate(potential, Posterior(root, (3.0, 1.0)))(graph, forces=False)["energy_uncertainty"]
    torch.testing.assert_close(found[0], 3.0 * (features @ root @ root.T @ features).sqrt(), rtol=1e-10, atol=0)


def test_forces_uncertainty_is_near_that_of_all_weights(estimate):
    potential, root = estimate[0].members[0], estimate[0].posterior.root
    many = LastLayerEstimate(potential, Posterior(root, samples=400))
    graph = graph_of([molecule(1, 6)], potential.neighbour_lists, torch.float64)
    moved = graph.deformed(graph.positions.clone().requires_grad_())
    features = structure_features(local_term(potential), moved, potential.energy(moved)[1])[0] @ root
    slopes = [torch.autograd.grad(value, moved.positions, retain_graph=True)[0] for value in features]
    exact = torch.stack(slopes).square().sum(dim=0).mean(dim=1).sqrt()
    # 400 draws of 3 components: relative error 2 % if components were independent, twice that if not, at three sigma
    torch.testing.assert_close(many(graph)["forces_uncertainty"], exact, rtol=0.15, atol=1e-12)


def test_predictions_are_the_models_own(estimate, make_potential):
    frames = [from_atoms(molecule(seed, 5)) for seed in range(3)]
    for own, model in zip(predict(estimate[0], frames), predict(make_potential(0), frames), strict=True):
        for name, value in model.labels.items():
            np.testing.assert_array_equal(own.labels[name], value)


def test_held_back_errors_have_unit_variance(estimate):
    model, _, held_back = estimate
    found = calibrations(held_back, predict(model, held_back))
    assert found["energy_per_atom"][1].scale == pytest.approx(1.0, rel=1e-6)
    assert found["forces"][1].scale == pytest.approx(1.0, rel=1e-6)


def test_uncertainty_grows_away_from_training(estimate):
    model, training, _ = estimate

    def mean(frames, name):
        return np.mean([p.uncertainties[name].mean() for p in predict(model, frames)])

    for name in model.uncertainties:
        near, middle, far = mean(training, name), mean(shaken(0.1, 20, 3), name), mean(shaken(0.3, 20, 4), name)
        assert near < middle < far and far > 2 * near


def test_kept_in_a_file_beside_the_model(save, estimate, tmp_path):
    model = save(0)
    training, held_back = estimate[1:]
    fitted = fit_last_layer(load_model(model), training, held_back, samples=8)
    path = save_estimate(model.with_name(UNCERTAINTY_FILE), fitted)
    frames = [from_atoms(molecule(seed, 5)) for seed in range(2)]
    for stored, own in zip(predict(eqff.load(path), frames), predict(fitted, frames), strict=True):
        for name, value in own.uncertainties.items():
            np.testing.assert_allclose(stored.uncertainties[name], value, rtol=1e-12)
    assert load_estimate(path, dtype="float32").dtype == torch.float32
    save(1).replace(model)
    with pytest.raises(ModelFileError, match="other weights"):
        eqff.load(path)


def test_what_can_not_be_fitted(make_potential, estimate):
    _, training, held_back = estimate
    with pytest.raises(DataError, match="held-back ones with energies"):
        fit_last_layer(make_potential(0), training, shaken(0.1, 2, 0))
    bare = Potential(None, {"zbl": ZBLRepulsion(inner=1.0, outer=2.5)}, elements=(1, 6, 7, 8))
    with pytest.raises(ModelError, match="needs a model with one local energy"):
        fit_last_layer(bare, training, held_back)


def test_held_back_structures_of_another_level(save, estimate):
    """Their energies are shifted onto the model's, as they were in training."""
    offsets = {1: 0.5, 6: 30.0, 7: -20.0, 8: 10.0}
    models = [load_model(save(seed, level_offsets={"PBE": offsets})) for seed in (0, 1)]
    training, held_back = estimate[1:]
    others = [copy(frame) for frame in held_back]
    for frame in others:
        frame.level_of_theory = "PBE"
        frame.energy = frame.energy + sum(offsets[z] for z in frame.numbers.tolist())
    for scales in (
        lambda frames: fit_last_layer(models[0], training, frames, samples=4).posterior.scales,
        lambda frames: calibrated(Ensemble(models), frames).scales,
    ):
        assert scales(others) == pytest.approx(scales(held_back), rel=1e-6)
