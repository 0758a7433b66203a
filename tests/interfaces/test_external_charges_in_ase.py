"""External charges in the ASE calculator, in evaluation and in ensembles."""

import numpy as np
import pytest
import torch
from ase.calculators.fd import calculate_numerical_forces

from eqff.build import ModelContext, build_potential
from eqff.data.atoms import from_atoms
from eqff.evaluation.predictions import predict
from eqff.testing.structures import among_charges, molecule
from eqff.uncertainty.ensemble import Ensemble

MODEL = {
    "backbone": {"_target_": "eqff.testing.minimal.MinimalBackbone", "channels": 4, "num_passes": 1, "cutoff": 3.0},
    "heads": {"charges": {"_target_": "eqff.heads.charge_equilibration.ChargeEquilibration", "hidden": 4}},
    "terms": {
        "local": {"_target_": "eqff.terms.local.LocalEnergy", "hidden": 4},
        "equilibration": {"_target_": "eqff.terms.field_energy.FieldEnergy"},
    },
}


def _potential(seed=0):
    torch.manual_seed(seed)
    return build_potential(MODEL, ModelContext((1, 6, 7, 8), dict.fromkeys((1, 6, 7, 8), 0.0)), torch.float64).eval()


@pytest.fixture
def potential():
    return _potential()


def test_calculator_and_evaluation_agree(potential):
    atoms = among_charges(molecule(1), 1)
    atoms.calc = potential.calculator()
    expected = predict(potential, [from_atoms(atoms)])[0].labels
    assert atoms.get_potential_energy() == pytest.approx(float(expected["energy"]), rel=1e-13)
    np.testing.assert_allclose(atoms.get_forces(), expected["forces"], atol=1e-12)
    np.testing.assert_allclose(atoms.get_forces(), calculate_numerical_forces(atoms, eps=1e-4), atol=1e-6)
    total = atoms.get_forces().sum(axis=0) + atoms.calc.results["external_forces"].sum(axis=0)
    np.testing.assert_allclose(total, 0.0, atol=1e-12)


def test_calculator_notices_other_charges(potential):
    """Moved, edited in place or taken away; each result is that of a calculator which has seen nothing before."""
    atoms = among_charges(molecule(1), 1)
    atoms.calc = potential.calculator()
    found = [atoms.get_potential_energy()]
    for change in ("positions", "charges", "none"):
        if change == "none":
            for name in ("positions", "charges", "widths"):
                del atoms.info[f"external_{name}"]
        else:
            atoms.info[f"external_{change}"][0] *= 1.1
        found.append(atoms.get_potential_energy())
        fresh = atoms.copy()
        fresh.calc = potential.calculator()
        assert found[-1] == fresh.get_potential_energy()
        assert ("external_forces" in atoms.calc.results) == (change != "none")
    assert len(set(found)) == 4


def test_beside_a_uniform_field(potential):
    atoms, both = among_charges(molecule(1), 1), among_charges(molecule(1), 1)
    atoms.calc = potential.calculator(electric_field=[0.0, 0.0, 0.1])
    both.info["electric_field"] = [0.0, 0.0, 0.1]
    both.calc = potential.calculator()
    assert atoms.get_potential_energy() == both.get_potential_energy()
    del atoms.info["external_charges"], atoms.info["external_positions"], atoms.info["external_widths"]
    assert atoms.get_potential_energy() != both.get_potential_energy()


def test_ensembles_give_mean_forces_on_charges():
    members, atoms = [_potential(seed) for seed in (0, 1)], among_charges(molecule(1), 1)
    atoms.calc = Ensemble(members, ["a", "b"]).calculator()
    atoms.get_forces()
    found, expected = atoms.calc.results["external_forces"], []
    for member in members:
        atoms.calc = member.calculator()
        atoms.get_forces()
        expected.append(atoms.calc.results["external_forces"])
    np.testing.assert_allclose(found, np.mean(expected, axis=0), atol=1e-12)
