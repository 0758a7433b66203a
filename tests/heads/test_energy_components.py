"""Energies of terms as fields with labels."""

from __future__ import annotations

import pytest
import torch

from eqff.build import ModelContext, build_potential
from eqff.errors import ConfigError, ModelError
from eqff.testing.graphs import graph_of
from eqff.testing.structures import molecule
from eqff.training.losses import Losses
from eqff.training.rehearsal import unreached

HEAD = "eqff.heads.energy_components.EnergyComponents"
ZBL = {"_target_": "eqff.terms.zbl.ZBLRepulsion", "inner": 0.5}
TERMS = {"short": {**ZBL, "outer": 1.5}, "long": {**ZBL, "outer": 3.0}}
CONTEXT = ModelContext((1, 6, 7, 8), dict.fromkeys((1, 6, 7, 8), 0.0))


def built(sums):
    return build_potential({"terms": TERMS, "heads": {"parts": {"_target_": HEAD, "sums": sums}}}, CONTEXT)


def test_sums_of_terms():
    potential = built({"sapt_exch": ["short", "long"], "sapt_disp": ["long"], "sapt_ind": None})
    assert {"sapt_exch", "sapt_disp"} <= set(potential.predicts) and "sapt_ind" not in potential.predicts
    structures = [molecule(1), molecule(2, 5)]
    found = potential(graph_of(structures, potential.neighbour_lists, torch.float32))
    assert torch.equal(found["sapt_exch"], found["energy"]) and torch.equal(found["sapt_disp"], found["energy_long"])
    assert bool((found["energy_short"] != 0).all())


def test_a_loss_on_a_part_trains_its_terms_alone():
    potential = built({"sapt_disp": ["long"]})
    losses = Losses.from_config({"sapt_disp": {}})
    losses.check_model(potential.predicts)
    assert unreached(potential.ordered_parts(), losses.fields) == ["terms.short"]


@pytest.mark.parametrize(
    ("sums", "error", "message"),
    [
        ({}, ConfigError, "sums needs fields"),
        ({"sapt_exch": []}, ConfigError, "sums needs fields"),
        ({"sapt_exchange": ["long"]}, ConfigError, "Did you mean 'sapt_exch'"),
        ({"forces": ["long"]}, ConfigError, "can't be a sum"),
        ({"energy": ["long"]}, ConfigError, "can't be a sum"),
        ({"sapt_exch": ["lang"]}, ModelError, "reads the field 'energy_lang'"),
    ],
)
def test_mistakes(sums, error, message):
    with pytest.raises(error, match=message):
        built(sums)
