"""Ionisation, affinity, hardness and Fukui functions: against single predictions, their sum rules, and from labels."""

import csv

import numpy as np
import pytest
import torch

from eqff.build import ModelContext, build_potential
from eqff.checkpoints import load_model, save_model
from eqff.data.atoms import from_atoms
from eqff.errors import DataError, ModelError
from eqff.evaluation.predictions import predict
from eqff.observables import (
    Reactivity,
    atom_table,
    labelled_reactivity,
    markdown_table,
    reactivity,
    reactivity_table,
    write_csv,
)
from eqff.testing.structures import closed_shell, molecule

ELEMENTS = (1, 6, 7, 8)
BACKBONE = {"_target_": "eqff.testing.minimal.MinimalBackbone", "channels": 4, "num_passes": 2}
LOCAL = {"local": {"_target_": "eqff.terms.local.LocalEnergy", "hidden": 4}}
NSE = {"nse": {"_target_": "eqff.exchange.spin_equilibration.NeutralSpinEquilibration"}}


def potential(**parts):
    torch.manual_seed(0)
    config = {"backbone": BACKBONE, "terms": LOCAL, **parts}
    return build_potential(config, ModelContext(ELEMENTS, dict.fromkeys(ELEMENTS, -10.0)), torch.float64)


def frame(seed=1, charge=0, multiplicity=1):
    atoms = closed_shell(molecule(seed, 5))
    atoms.info.update(total_charge=charge, multiplicity=multiplicity)
    found = from_atoms(atoms)
    found.group = f"molecule {seed}"
    return found


def test_is_made_of_three_predictions():
    model, frames = potential(exchanges=NSE), [frame(1), frame(2, charge=2)]
    found = reactivity(model, frames, multiplicities=(4, 2), batch_size=2)
    for seed, middle, result in ((1, 0, found[0]), (2, 2, found[1])):
        states = [(middle - 1, 4), (middle, 1), (middle + 1, 2)]
        single = [predict(model, [frame(seed, *state)], labels=("energy", "charges"))[0].labels for state in states]
        low, mid, high = (float(s["energy"]) for s in single)
        assert result.total_charges == (middle - 1, middle, middle + 1) and result.multiplicities == (4, 1, 2)
        assert result.ionization_potential == pytest.approx(high - mid, abs=1e-10)
        assert result.electron_affinity == pytest.approx(mid - low, abs=1e-10)
        np.testing.assert_allclose(result.charges, [s["charges"] for s in single], atol=1e-12)
        for fukui in (result.fukui_plus, result.fukui_minus, result.fukui_zero):
            assert fukui.sum() == pytest.approx(1.0, abs=1e-12)


def test_definitions():
    charges = np.array([[-0.7, -0.3], [-0.1, 0.1], [0.6, 0.4]])
    result = Reactivity("x", ("O", "H"), (-1, 0, 1), (2, 1, 2), (-101.0, -100.0, -91.0), charges)
    assert (result.ionization_potential, result.electron_affinity) == (9.0, 1.0)
    assert (result.electronegativity, result.hardness) == (5.0, 8.0)
    assert result.electrophilicity == pytest.approx(25 / 16)
    np.testing.assert_allclose(result.fukui_plus, [0.6, 0.4])
    np.testing.assert_allclose(result.fukui_minus, [0.7, 0.3])
    np.testing.assert_allclose(result.fukui_zero, [0.65, 0.35])
    soft = Reactivity("x", ("O",), (-1, 0, 1), (2, 1, 2), (-110.0, -100.0, -91.0))
    assert soft.hardness < 0 and np.isnan(soft.electrophilicity)


def test_lowest_multiplicities_and_models_without_charges():
    result = reactivity(potential(), [frame()], multiplicities="lowest")[0]
    assert result.multiplicities == (2, 1, 2) and result.charges is None and result.fukui_plus is None
    with pytest.raises(ModelError, match="need atomic charges"):
        atom_table(result)


def test_impossible_states_are_refused():
    with pytest.raises(DataError, match=r"with -1 e: multiplicity 3 is impossible.*possible are 2, 4"):
        reactivity(potential(), [frame()], multiplicities=(3, 2))
    proton = molecule(4, 1, (1,), total_charge=1)
    with pytest.raises(DataError, match="more than all 1 electrons"):
        reactivity(potential(), [from_atoms(proton)], multiplicities="lowest")


@pytest.mark.parametrize("heads", [{}, {"charges": {"_target_": "eqff.heads.charges.Charges", "hidden": 4}}])
def test_energies_that_ignore_charge_are_refused(heads):
    """Also where charges follow from it: only the energies would be wrong."""
    schnet = {"_target_": "eqff.backbones.schnet.SchNet", "channels": 4, "num_passes": 1, "charge_and_spin": False}
    model = potential(backbone=schnet, heads=heads)
    with pytest.raises(ModelError, match="same energy, -.* eV, in all three charge states"):
        reactivity(model, [frame()], multiplicities="lowest")


def labelled(charge, multiplicity, energy, seed=1):
    found = frame(seed, charge, multiplicity)
    found.energy = torch.tensor([energy], dtype=torch.float64)
    return found


def test_from_labels():
    frames = [labelled(1, 2, -91.0), labelled(0, 1, -100.0), labelled(-1, 2, -101.0), labelled(0, 1, -50.0, seed=2)]
    frames.append(labelled(1, 2, -42.0, seed=2))
    found = labelled_reactivity([*frames, labelled(0, 1, 0.0, seed=3)])
    assert list(found) == ["molecule 1", "molecule 2"]
    assert found["molecule 1"].electron_affinity == 1.0
    two = found["molecule 2"]
    assert two.ionization_potential == 8.0 and np.isnan(two.electron_affinity)
    assert two.total_charges == (-1, 0, 1) and two.multiplicities == (0, 1, 2)
    with pytest.raises(DataError, match=r"charge state \+1 appears twice"):
        labelled_reactivity([*frames, labelled(1, 2, -90.0)])
    moved = labelled(-1, 2, -51.0, seed=2)
    moved.positions = moved.positions + 0.01
    with pytest.raises(DataError, match="another geometry"):
        labelled_reactivity([*frames, moved])


def test_tables(tmp_path):
    result = reactivity(potential(exchanges=NSE), [frame()], multiplicities="lowest")
    rows = reactivity_table(result)
    assert rows[0]["multiplicities"] == "2/1/2" and "ionization_potential (eV)" in markdown_table(rows)
    atoms = atom_table(result[0])
    assert len(atoms) == 5 and sum(row["fukui_plus"] for row in atoms) == pytest.approx(1.0)
    stored = list(csv.DictReader(write_csv(tmp_path / "r.csv", rows).open(encoding="utf-8")))
    assert float(stored[0]["hardness (eV)"]) == result[0].hardness


QEQ = {"_target_": "eqff.heads.charge_equilibration.ChargeEquilibration", "hidden": 4}
COULOMB = {"_target_": "eqff.terms.coulomb.Coulomb", "short_range": "switch", "switch": [1.0, 4.0]}
ENERGY_OF_CHARGES = {"_target_": "eqff.terms.field_energy.FieldEnergy"}


@pytest.mark.parametrize(
    "parts",
    [
        {"heads": {"charges": QEQ}, "terms": LOCAL | {"equilibration": ENERGY_OF_CHARGES}},
        {"exchanges": NSE, "terms": LOCAL | {"coulomb": COULOMB}},
    ],
    ids=["equilibration", "coulomb"],
)
def test_long_range_terms_answer_the_charge(parts):
    """Energies of electrostatic terms are in I and A, and charges follow the state: Fukui functions sum to one."""
    model, structure = potential(**parts), frame(1)
    (found,) = reactivity(model, [structure], multiplicities=(2, 2))
    states = [frame(1, *state) for state in ((-1, 2), (0, 1), (1, 2))]
    predictions = [predict(model, [state], labels=("energy",))[0] for state in states]
    assert found.energies == pytest.approx([float(p.labels["energy"]) for p in predictions], abs=1e-10)
    electrostatic = [sum(e for name, e in p.terms.items() if name != "local") for p in predictions]
    assert np.ptp(electrostatic) > 1e-2
    for fukui in (found.fukui_plus, found.fukui_minus, found.fukui_zero):
        assert fukui.sum() == pytest.approx(1.0, abs=1e-9)
    assert np.isfinite(found.hardness) and np.ptp(found.charges, axis=0).min() > 0


def test_differences_to_a_base_are_refused(tmp_path):
    config = {"backbone": BACKBONE, "terms": LOCAL, "exchanges": NSE}
    context = ModelContext(ELEMENTS, dict.fromkeys(ELEMENTS, -10.0), level_of_theory="PBE minus X")
    file = save_model(tmp_path / "m.safetensors", potential(exchanges=NSE), model_config=config, context=context)
    with pytest.raises(ModelError, match="labels minus X"):
        reactivity(load_model(file), [frame()], multiplicities=(2, 2))
