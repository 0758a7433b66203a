"""The elements' energies, and what a unit of charge costs, on another level of theory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms

from eqff.build import ModelContext, build_potential
from eqff.checkpoints import save_model
from eqff.data.atoms import from_atoms
from eqff.data.charge_reference import ChargeReference, charge_energy
from eqff.evaluation.predictions import predict
from eqff.training.finetuning.energies import Refit, refit, sloped
from eqff.training.finetuning.settings import FinetuneSettings
from eqff.training.finetuning.start import Start, begin

MODEL = {
    "backbone": {"_target_": "eqff.backbones.painn.PaiNN", "channels": 8},
    "terms": {"local": {"_target_": "eqff.terms.local.LocalEnergy"}},
}
KNOWN = ModelContext((1, 6, 8), {1: -13.0, 6: -1030.0, 8: -2042.0}, mean_neighbours=4.0)
SHIFT = {1: 0.7, 3: -203.0, 6: -40.0, 8: 31.0}
SLOPE = -4.85
"""eV/e; of the size of what lies between tight binding and density functionals."""
FORMULAS = ("OHH", "CHH", "CO", "COO", "CHHH", "OH")
WITH_LITHIUM = (*FORMULAS, "LiOH", "LiH", "OHLi")


@pytest.fixture(scope="module")
def old():
    torch.manual_seed(0)
    return build_potential(MODEL, KNOWN, torch.float64).eval()


def structures(formulas, charges=(0, 1, -1)):
    rng = np.random.default_rng(1)
    found = []
    for formula in formulas:
        for charge in charges:
            count = len(Atoms(formula))
            positions = np.arange(count)[:, None] * [1.0, 0.2, 0.0] + 0.1 * rng.random((count, 3))
            found.append(Atoms(formula, positions, info={"total_charge": charge}))
    return found


def frames(potential, atoms, shift, slope, like=None):
    """Structures with a model's own energies plus what another level adds; ``like`` stands in for new elements."""
    known = [a.copy() for a in atoms]
    for a in known:
        a.numbers = [(like or {}).get(z, z) for z in a.numbers]
    plain = [from_atoms(a, multiplicity="lowest", labels=()) for a in known]
    energies = [float(p.labels["energy"]) for p in predict(potential, plain, labels=("energy",))]
    made = [from_atoms(a, multiplicity="lowest", labels=()) for a in atoms]
    for frame, a, energy in zip(made, atoms, energies, strict=True):
        there = energy + sum(shift[z] for z in a.numbers) + slope * a.info["total_charge"]
        frame.energy = torch.tensor([there], dtype=torch.float64)
    return made


def test_shifts_of_elements_and_of_charge_are_found(old):
    found = refit(old, frames(old, structures(FORMULAS), SHIFT, SLOPE), (1, 6, 8), charges=True)
    assert found.shifts == pytest.approx({z: SHIFT[z] for z in (1, 6, 8)}, abs=1e-8)
    assert found.slope == pytest.approx(SLOPE, abs=1e-8)
    assert (found.rank, found.undetermined) == (4, ())
    assert found.left < 1e-8
    assert Refit.from_dict(found.__dict__) == found


@pytest.mark.parametrize(("charges", "asked"), [((0,), True), ((0, 1), False)])
def test_without_several_charges_there_is_no_slope(old, charges, asked):
    found = refit(old, frames(old, structures(FORMULAS, charges), SHIFT, 0.0), (1, 6, 8), charges=asked)
    assert found.slope is None
    assert found.shifts == pytest.approx({z: SHIFT[z] for z in (1, 6, 8)}, abs=1e-8)


def test_large_sets_are_sampled_in_no_rhythm(old, monkeypatch):
    """Every second structure is a cation: every second one would leave all or none of them."""
    monkeypatch.setattr("eqff.training.finetuning.energies.SAMPLE", 18)
    found = refit(old, frames(old, structures(3 * FORMULAS, (0, 1)), SHIFT, SLOPE), (1, 6, 8), charges=True)
    assert found.slope == pytest.approx(SLOPE, abs=1e-8)


def test_what_compositions_leave_open_is_said(old):
    """Of water and methane as many combinations are known as there are compositions, of an absent element nothing."""
    found = refit(old, frames(old, structures(("OHH", "CO", "COO")), SHIFT, SLOPE), (1, 6, 8), charges=True)
    assert (found.rank, found.undetermined) == (4, ())
    found = refit(old, frames(old, structures(("OHH", "CHHHH")), SHIFT, SLOPE), (1, 6, 8), charges=True)
    assert (found.rank, found.undetermined) == (3, (1, 6, 8))
    assert "Only 3 of 4 combinations of them are determined, those of H, C, O not one by one" in str(found)
    assert found.left < 1e-8
    found = refit(old, frames(old, structures(("CO", "COO")), SHIFT, SLOPE), (1, 6, 8), charges=True)
    assert (found.rank, found.undetermined) == (3, (1,))


def test_mixed_levels_are_told_by_what_is_left(old):
    """Replayed frames of the old level among those of a new one: no energies of elements fit both."""
    new, replayed = (frames(old, structures(FORMULAS), shift, 0.0) for shift in (SHIFT, dict.fromkeys(SHIFT, 0.0)))
    mixed = refit(old, [*new, *replayed], (1, 6, 8), charges=True)
    assert mixed.left > 5.0
    assert "several levels of theory" in str(replace(mixed, left=50.0))
    assert "several levels" not in str(refit(old, new, (1, 6, 8), charges=True))


@pytest.mark.parametrize(
    "reference",
    [
        None,
        ChargeReference(slope=2.0),
        ChargeReference(offsets={-1: -3.0, 0: 0.0, 1: 9.0}),
        ChargeReference(ions={1: {-1: -0.7, 1: 13.6}, 6: {-1: -1.2, 1: 11.0, 2: 35.0}}),
    ],
)
def test_a_slope_on_top_of_any_form(reference):
    charge, counts = torch.tensor([-1.0, 0.0, 1.0]), torch.zeros(3, 119)
    counts[:, 1], counts[:, 6] = 2, 1
    before = charge_energy((reference or ChargeReference()).tensors(), charge, counts)
    after = charge_energy(sloped(reference, SLOPE).tensors(), charge, counts)
    torch.testing.assert_close(after, before + SLOPE * charge.double(), rtol=0, atol=1e-12)
    assert sloped(reference, None) == reference


def saved(tmp_path, potential):
    return str(save_model(tmp_path / "old.safetensors", potential, model_config=MODEL, context=KNOWN))


def test_a_model_begins_on_the_new_level_also_with_a_new_element(old, tmp_path):
    """Energies of lithium compounds are those with H in their place, plus another level's: all is found exactly."""
    chosen, fresh = FinetuneSettings(saved(tmp_path, old)), replace(KNOWN, elements=(1, 3, 6, 8))
    data = frames(old, structures(WITH_LITHIUM), SHIFT, SLOPE, like={3: 1})
    potential, start = begin(chosen, MODEL, fresh, data, torch.float64)
    errors = [float(p.labels["energy"]) - float(f.energy) for p, f in zip(predict(potential, data), data, strict=True)]
    assert np.abs(errors).max() < 1e-6
    assert potential.elements == (1, 3, 6, 8)
    assert start.new_elements == (3,)
    assert start.tables == {"backbone.embedding": (0,)}
    assert "Li as H" in str(start)
    assert f"{SLOPE:+.4g} eV for each unit of charge" in str(start)
    assert Start.from_dict(start.to_dict()) == start


def test_keep_gives_energies_to_new_elements_only(old, tmp_path):
    chosen = FinetuneSettings(saved(tmp_path, old), reference_energies="keep")
    fresh = replace(KNOWN, elements=(1, 3, 6, 8), charge_reference=ChargeReference(slope=1.0))
    data = frames(old, structures(WITH_LITHIUM), {1: 0.0, 3: -203.0, 6: 0.0, 8: 0.0}, 0.0, like={3: 1})
    _, start = begin(chosen, MODEL, fresh, data, torch.float64)
    energies = start.context.reference_energies
    assert {z: energies[z] for z in (1, 6, 8)} == KNOWN.reference_energies
    assert energies[3] == pytest.approx(KNOWN.reference_energies[1] - 203.0, abs=1e-6)
    assert start.context.charge_reference is None
    assert start.refit.slope is None
    assert "data.charge_reference is not used" in str(start)


def test_runs_from_before_are_still_understood():
    data = {"model": "x", "taken": "y", "frozen": 3, "shifts": {"1": -0.5}, "determined": 1, "before": {}}
    start = Start.from_dict({**data, "context": KNOWN.to_dict()})
    assert start.refit.shifts == {1: -0.5}
    assert start.new_elements == ()
