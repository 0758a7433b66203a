"""Corrections: checked with the model, kept in its file, left out of training and errors, added by the calculator."""

import logging

import pytest
import torch
from ase.build import molecule

from eqff.build import ModelContext, build_potential
from eqff.checkpoints.model_file import load_model, save_model
from eqff.corrections import corrected
from eqff.errors import ConfigError, ModelError

LOCAL = {"_target_": "eqff.terms.local.LocalEnergy", "hidden": 4}
D3 = {"_target_": "eqff.terms.d3.D3", "functional": "pbe", "cutoff": 9.0}
CONTEXT = ModelContext((1, 6, 8), {1: -1.0, 6: -6.0, 8: -8.0})


def config(**corrections):
    backbone = {"_target_": "eqff.testing.minimal.MinimalBackbone"}
    return {"backbone": backbone, "terms": {"local": LOCAL}, "corrections": corrections}


def saved(path, model):
    potential = build_potential(model, CONTEXT, torch.float64).eval()
    save_model(path, potential, model_config=model, context=CONTEXT)
    return load_model(path)


def water():
    atoms = molecule("H2O")
    atoms.info.update(total_charge=0, multiplicity=1)
    return atoms


def energy(calculator, atoms):
    atoms.calc = calculator
    return atoms.get_potential_energy(), atoms.get_forces(), atoms.calc.results["energies_per_term"]


def test_calculator_adds_them(tmp_path, caplog):
    model = saved(tmp_path / "model.safetensors", config(d3=D3))
    assert list(model.terms) == ["local"] and set(model.neighbour_lists) == {"local"}
    with caplog.at_level(logging.WARNING):
        added = model.calculator()
    assert "d3" in caplog.text
    whole, forces, terms = energy(added, water())
    bare, bare_forces, _ = energy(model.calculator(corrections=False), water())
    alone = build_potential({"terms": {"d3": D3}}, CONTEXT, torch.float64).eval()
    d3, d3_forces, _ = energy(alone.calculator(), water())
    assert set(terms) == {"local", "d3"} and d3 < 0
    assert whole == pytest.approx(bare + d3, abs=1e-12)
    assert forces == pytest.approx(bare_forces + d3_forces, abs=1e-7)  # D3 alone takes positions in float32


def test_weights_are_shared(tmp_path):
    model = saved(tmp_path / "model.safetensors", config(d3=D3))
    whole = corrected(model)
    assert {p.data_ptr() for p in whole.parameters()} == {p.data_ptr() for p in model.parameters()}
    assert not whole.training


def test_they_are_added_once(tmp_path):
    whole = corrected(saved(tmp_path / "model.safetensors", config(d3=D3)))
    assert corrected(whole) is whole
    assert list(whole.calculator().potential.terms) == ["local", "d3"]


def test_models_without_any_stay_as_they_are(tmp_path):
    model = saved(tmp_path / "model.safetensors", config())
    assert corrected(model) is model
    fresh = build_potential(config(d3=D3), CONTEXT)
    assert corrected(fresh) is fresh


@pytest.mark.parametrize(
    ("corrections", "error", "told"),
    [
        ({"d3": {**D3, "functional": "pbee"}}, ConfigError, "pbe"),
        ({"d3": {**D3, "cutof": 9.0}}, ConfigError, "model.corrections.d3"),
        ({"local": D3}, ConfigError, "name"),
        ({"pairs": {"_target_": "eqff.terms.learned_dispersion.LearnedDispersion"}}, ConfigError, "model.terms"),
        ({"coulomb": {"_target_": "eqff.terms.coulomb.Coulomb"}}, ModelError, "charges"),
    ],
)
def test_what_is_wrong_is_said_before_training(corrections, error, told):
    with pytest.raises(error, match=told):
        build_potential(config(**corrections), CONTEXT)
