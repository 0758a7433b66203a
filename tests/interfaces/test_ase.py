"""The ASE calculator: the model's numbers, ASE's conventions, and never a stale or guessed result."""

import warnings

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.io import read, write

from eqff.build import ModelContext, build_potential
from eqff.checkpoints import load_model, save_model
from eqff.data.atoms import from_atoms
from eqff.errors import DataError, ModelError
from eqff.evaluation.predictions import predict
from eqff.interfaces.ase import TERMS, EqffCalculator
from eqff.parts import Head
from eqff.potential import Potential
from eqff.testing.structures import crystal, molecule, slab

CONFIG = {
    "backbone": {"_target_": "eqff.testing.minimal.MinimalBackbone", "channels": 4, "num_passes": 2, "cutoff": 3.0},
    "heads": {
        "charges": {"_target_": "eqff.heads.charges.Charges", "hidden": 4},
        "dipole": {"_target_": "eqff.heads.dipole.Dipole"},
    },
    "terms": {
        "local": {"_target_": "eqff.terms.local.LocalEnergy", "hidden": 4},
        "zbl": {"_target_": "eqff.terms.zbl.ZBLRepulsion", "inner": 0.8, "outer": 1.6},
    },
}
CONTEXT = ModelContext((1, 6, 7, 8), {1: -13.6, 6: -1030.0, 7: -1486.0, 8: -2042.0})


@pytest.fixture
def potential():
    torch.manual_seed(0)
    return build_potential(CONFIG, CONTEXT, torch.float64)


@pytest.fixture
def cation(potential):
    atoms = molecule(2, 6, total_charge=1)
    atoms.calc = potential.calculator()
    return atoms


def test_results_are_those_of_the_model(potential, cation):
    cation.get_forces()
    results = cation.calc.results
    expected = predict(potential, [from_atoms(cation, labels=())], labels=potential.predicts)[0]
    assert cation.get_potential_energy() == pytest.approx(float(expected.labels["energy"]), rel=1e-14)
    for name in ("forces", "charges", "dipole"):
        np.testing.assert_allclose(results[name], expected.labels[name], atol=1e-12)
    assert results[TERMS] == pytest.approx(expected.terms)
    assert sum(results[TERMS].values()) == pytest.approx(results["energy"])
    assert cation.get_charges().sum() == pytest.approx(1.0)
    assert cation.get_dipole_moment().shape == (3,)


def test_one_calculation_gives_everything(cation, monkeypatch):
    cation.get_potential_energy()
    monkeypatch.setattr(cation.calc, "calculate", None)
    for name in ("energy", "free_energy", "forces", "charges", "dipole", TERMS):
        assert cation.calc.get_property(name, cation) is not None


@pytest.mark.parametrize("make", [molecule, slab, crystal])
def test_forces_are_derivatives(potential, make):
    atoms = make(1)
    atoms.calc = EqffCalculator(potential)
    np.testing.assert_allclose(atoms.get_forces(), calculate_numerical_forces(atoms, eps=1e-5), atol=2e-7, rtol=1e-6)


def test_stress_is_a_derivative(potential):
    atoms = crystal(1)
    atoms.calc = EqffCalculator(potential)
    np.testing.assert_allclose(atoms.get_stress(), calculate_numerical_stress(atoms, eps=1e-6), atol=1e-6)


def test_stress_of_a_slab_counts_the_vacuum_given(potential):
    atoms = slab(1)
    atoms.calc = EqffCalculator(potential)
    with pytest.raises(PropertyNotImplementedError, match="three lattice vectors"):
        atoms.get_stress()
    atoms.center(vacuum=4.0, axis=2)
    once = atoms.get_stress()
    # all lattice vectors strained together, whether periodic or not
    np.testing.assert_allclose(once[:2], calculate_numerical_stress(atoms, eps=1e-6)[:2], atol=1e-6)
    atoms.cell[2] *= 2
    np.testing.assert_allclose(atoms.get_stress(), once / 2, atol=1e-10)


@pytest.mark.parametrize("change", [{"total_charge": -1}, {"multiplicity": 3}])
def test_cache_notices_a_changed_state(potential, cation, change):
    before = cation.get_potential_energy()
    cation.info.update(change)
    after = cation.get_potential_energy()
    fresh = cation.copy()
    fresh.calc = EqffCalculator(potential)
    assert after != before and after == fresh.get_potential_energy()


def test_cache_notices_changed_arguments(potential):
    atoms = molecule(2, 6)
    atoms.info.clear()
    odd = int(atoms.numbers.sum()) % 2
    atoms.calc = EqffCalculator(potential, total_charge=0, multiplicity=1 + odd)
    before = atoms.get_potential_energy()
    atoms.calc.multiplicity = 3 + odd
    assert atoms.get_potential_energy() != before


def test_cache_keeps_what_did_not_change(cation, monkeypatch):
    before = cation.get_forces()
    monkeypatch.setattr(cation.calc, "calculate", None)
    cation.info["comment"] = "nothing that matters"
    cation.set_initial_charges([0.1] * len(cation))
    assert np.array_equal(cation.get_forces(), before)


@pytest.mark.parametrize("what", ["positions", "numbers", "cell"])
def test_cache_notices_geometry(potential, what):
    atoms = crystal(1)
    atoms.calc = EqffCalculator(potential)
    before = atoms.get_potential_energy()
    if what == "positions":
        atoms.positions[0] += 0.01
    elif what == "numbers":
        atoms.numbers[0] = {1: 7, 6: 8, 7: 1, 8: 6}[atoms.numbers[0]]
    else:
        atoms.cell[0, 0] += 0.01
    assert atoms.get_potential_energy() != before


def test_charge_and_multiplicity_are_never_guessed(potential):
    atoms = Atoms("OH2", [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]], calculator=EqffCalculator(potential))
    with pytest.raises(DataError, match="total charge is nowhere given"):
        atoms.get_potential_energy()
    atoms.calc = EqffCalculator(potential, total_charge=0)
    with pytest.raises(DataError, match="multiplicity"):
        atoms.get_potential_energy()
    atoms.calc = EqffCalculator(potential, total_charge=0, multiplicity=2)
    with pytest.raises(DataError, match="impossible for 10 electrons"):
        atoms.get_potential_energy()
    atoms.calc = EqffCalculator(potential, total_charge=0, multiplicity="lowest")
    named = atoms.copy()
    named.info.update(charge=0, spin=1)
    named.calc = EqffCalculator(potential)
    assert named.get_potential_energy() == atoms.get_potential_energy()


def test_two_different_charges_are_refused(potential):
    atoms = molecule(2, 6, total_charge=1)
    atoms.calc = EqffCalculator(potential, total_charge=-1)
    with pytest.raises(ModelError, match="total_charge=-1, but atoms.info says 1"):
        atoms.get_potential_energy()


def test_unknown_element(potential):
    atoms = Atoms("HCl", [[0, 0, 0], [1.27, 0, 0]], info={"total_charge": 0, "multiplicity": 1})
    atoms.calc = EqffCalculator(potential)
    with pytest.raises(ModelError, match=r"Cl \(Z=17\)"):
        atoms.get_potential_energy()
    assert not atoms.calc.results


def test_properties_depend_on_the_model(potential):
    config = {key: CONFIG[key] for key in ("backbone", "terms")}
    bare = EqffCalculator(build_potential(config, CONTEXT))
    assert not {"charges", "dipole"} & set(bare.implemented_properties)
    assert {"charges", "dipole", "energy", "forces", "stress"} <= set(EqffCalculator(potential).implemented_properties)
    atoms = molecule(1)
    atoms.calc = bare
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_charges()


def test_spin_charges_are_also_magnetic_moments(potential):
    class Alternating(Head):
        reads, writes = ("numbers",), ("spin_charges",)

        def forward(self, graph, fields):
            return {"spin_charges": 0.1 * graph.numbers.to(torch.float64)}

    spins = Potential(potential.backbone, dict(potential.terms), {"spins": Alternating()}, elements=potential.elements)
    atoms = molecule(1)
    atoms.calc = spins.calculator()
    np.testing.assert_allclose(atoms.get_magnetic_moments(), 0.1 * atoms.numbers)
    np.testing.assert_allclose(atoms.calc.results["spin_charges"], 0.1 * atoms.numbers)


def test_from_a_file_with_another_precision(potential, tmp_path):
    path = save_model(tmp_path / "m.safetensors", potential, model_config=CONFIG, context=CONTEXT)
    atoms = molecule(1)
    atoms.calc = EqffCalculator(path, dtype=torch.float32)
    assert atoms.calc.potential.dtype == torch.float32
    energy = atoms.get_potential_energy()
    atoms.calc = EqffCalculator(potential)
    assert energy == pytest.approx(atoms.get_potential_energy(), abs=1e-3)


def test_state_outside_of_training_warns_once(potential, tmp_path):
    states = {"states": [{"total_charge": 0, "multiplicity": 1, "frames": 9}]}
    path = save_model(tmp_path / "m.safetensors", potential, model_config=CONFIG, context=CONTEXT, metadata=states)
    atoms = molecule(2, 6, total_charge=1)
    atoms.calc = load_model(path).calculator()
    with pytest.warns(UserWarning, match=r"not trained on the state \+1 .*, only on 0 singlet"):
        atoms.get_potential_energy()
    atoms.rattle(0.01)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        atoms.get_potential_energy()


def test_ase_files_keep_the_results(cation, tmp_path):
    cation.get_forces()
    for name in ("a.extxyz", "a.traj"):
        write(tmp_path / name, cation)
        again = read(tmp_path / name)
        np.testing.assert_allclose(again.get_forces(), cation.get_forces(), atol=1e-7)
        assert again.info["total_charge"] == 1


@pytest.mark.parametrize("change", ["pbc", "one vector"])
def test_cache_notices_periodicity(potential, change):
    atoms = crystal(1)
    atoms.calc = EqffCalculator(potential)
    before = atoms.get_potential_energy()
    if change == "pbc":
        atoms.pbc = [True, True, False]
    else:
        atoms.cell[2] = 1.1 * atoms.cell[2]
    after = atoms.get_potential_energy()
    fresh = atoms.copy()
    fresh.calc = EqffCalculator(potential)
    assert after != before and after == fresh.get_potential_energy()


def test_a_failed_calculation_leaves_nothing_behind(potential):
    atoms = molecule(2, 6, total_charge=1)
    atoms.calc = EqffCalculator(potential)
    before = atoms.get_potential_energy()
    atoms.info["multiplicity"] += 1
    for _ in range(2):
        with pytest.raises(DataError, match="impossible"):
            atoms.get_potential_energy()
    atoms.info["multiplicity"] -= 1
    assert atoms.get_potential_energy() == before


def test_no_energy_of_before_stands_for_atoms_that_failed(cation):
    cation.get_potential_energy()
    broken = cation.copy()
    broken.positions[0] = np.nan
    for ask in (cation.calc.calculate, cation.calc.get_potential_energy):
        with pytest.raises(DataError, match="not finite numbers"):
            ask(broken)


@pytest.mark.parametrize("place", [1e9, 1e200])
def test_atoms_far_away_are_atoms(potential, place):
    atoms = molecule(2, 6, total_charge=1)
    atoms.calc = potential.calculator()
    near = atoms.get_potential_energy()
    atoms.positions[0] = place, 0, 0
    with np.errstate(over="ignore"):
        assert np.isfinite(atoms.get_potential_energy()) and atoms.get_potential_energy() != near


def test_entries_under_keys_that_are_no_words_are_left_alone(cation):
    before = cation.get_potential_energy()
    cation.info[3] = "three"
    assert cation.get_potential_energy() == before


@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        (Atoms(), "no atoms"),
        (Atoms("OH2", [[0, 0, 0], [0.96, np.nan, 0], [-0.24, 0.93, 0]]), r"position of atom 1 \(H\).*1 of 3 atoms"),
        (Atoms("H", cell=[3, np.inf, 3], pbc=True), "cell .* not finite"),
        (Atoms("H2", [[0, 0, 0], [0, 0, 0.7]], cell=[5, 0, 5], pbc=True), "periodic along a, b, c"),
        (Atoms("H3O", [[0, 0, 0], [0, 0, 0.7], [0, 0, 0.7], [0, 1, 0]]), r"atoms 1 and 2 .* are 0 Å apart"),
    ],
)
def test_structures_that_can_not_be(potential, atoms, message):
    atoms.calc = EqffCalculator(potential, total_charge=0, multiplicity="lowest")
    with pytest.raises(DataError, match=message):
        atoms.get_potential_energy()


def test_missing_state_says_how_to_give_it_here(potential):
    water = Atoms("OH2", [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]], calculator=EqffCalculator(potential))
    with pytest.raises(DataError) as error:
        water.get_potential_energy()
    assert "model.calculator(total_charge=0, multiplicity=1)" in str(error.value)
    assert "atoms.info" in str(error.value) and "data.total_charge" not in str(error.value)


@pytest.mark.parametrize("field", [0.1, [0.0, 0.1], [0.0, 0.0, float("nan")]])
def test_a_field_that_is_none_is_refused(field):
    with pytest.raises(ModelError, match="three finite numbers"):
        EqffCalculator(build_potential(CONFIG, CONTEXT), electric_field=field)
