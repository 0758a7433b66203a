"""Any ASE calculator as a potential: its own numbers, told charge and spin, and clear words where it fails."""

import logging

import numpy as np
import pytest
import torch
from foreign_calculators import Fails, NoForces, OfInfo, Springs, lennard_jones

from eqff.data.atoms import from_atoms
from eqff.data.batching import collate
from eqff.data.graph import graph_from_batch
from eqff.errors import ConfigError, ModelError
from eqff.evaluation import evaluate_potential, predict
from eqff.interfaces.ase import EqffCalculator
from eqff.interfaces.calculator_energy import calculator_potential
from eqff.interfaces.calculators import build_calculator, method_name, named_calculator, state_settings
from eqff.testing.structures import crystal, molecule, one_of_each, slab

HERE = "foreign_calculators"


@pytest.fixture(autouse=True)
def nothing_allowed(monkeypatch):
    monkeypatch.setattr("eqff.packages._ALLOWED_PACKAGES", ["eqff"])


def potential_of(calculator):
    return calculator_potential(named_calculator(calculator))


def test_energy_and_forces_are_those_of_the_calculator():
    """In one batch of every periodicity, charge and spin."""
    structures = list(one_of_each().values())
    found = predict(potential_of(lennard_jones()), [from_atoms(atoms) for atoms in structures])
    for atoms, prediction in zip(structures, found, strict=True):
        expected = lennard_jones()
        assert prediction.labels["energy"] == pytest.approx(expected.get_property("energy", atoms), rel=1e-14)
        np.testing.assert_allclose(prediction.labels["forces"], expected.get_property("forces", atoms), atol=1e-12)


@pytest.mark.parametrize("make", [crystal, slab, molecule])
def test_virial_is_the_derivative_by_strain(make):
    """Central differences of the calculator's own energy; of a slab in its plane, with three lattice vectors."""
    atoms = make(3)
    if atoms.cell.rank == 2:
        atoms.center(vacuum=6.0, axis=_open_axis(atoms))
    (found,) = predict(potential_of(lennard_jones()), [from_atoms(atoms)], labels=["virial"])
    step, numbers = 1e-5, np.zeros((3, 3))
    for a in range(3):
        for b in range(3):
            energies = []
            for sign in (1, -1):
                strain = np.eye(3)
                strain[a, b] += 0.5 * sign * step
                strain[b, a] += 0.5 * sign * step
                moved = atoms.copy()
                moved.set_cell(atoms.cell.array @ strain)
                moved.positions = atoms.positions @ strain
                energies.append(lennard_jones().get_property("energy", moved))
            numbers[a, b] = -(energies[0] - energies[1]) / (2 * step)
    np.testing.assert_allclose(found.labels["virial"], numbers, atol=1e-6 * max(1.0, np.abs(numbers).max()))


def _open_axis(atoms):
    return int(np.flatnonzero(~atoms.pbc)[0])


def test_stress_in_ase_terms():
    atoms = crystal(5)
    atoms.calc = EqffCalculator(potential_of(lennard_jones()))
    np.testing.assert_allclose(atoms.get_stress(), lennard_jones().get_property("stress", atoms), atol=1e-13)


def test_charge_and_multiplicity_reach_settings_and_info():
    cation, anion = molecule(2, 6, total_charge=1), molecule(3, 5, total_charge=-1, excited=True)
    frames = [from_atoms(atoms) for atoms in (cation, anion)]
    found = predict(potential_of(Springs()), frames, labels=["energy", "charges", "dipole"])
    for atoms, prediction in zip((cation, anion), found, strict=True):
        charge, spin = atoms.info["total_charge"], atoms.info["multiplicity"]
        away = atoms.positions - atoms.positions.mean(axis=0)
        assert prediction.labels["energy"] == pytest.approx(0.5 * (away**2).sum() + 0.25 * charge + 0.5 * spin)
        np.testing.assert_allclose(prediction.labels["charges"], charge / len(atoms))
        np.testing.assert_allclose(prediction.labels["dipole"], [0, 1, 2])


def test_another_state_of_the_same_geometry_is_computed_anew(caplog):
    atoms = molecule(1)
    frames = []
    for charge, spin in ((0, atoms.info["multiplicity"]), (1, 3 - atoms.info["multiplicity"])):
        atoms.info.update(total_charge=charge, multiplicity=spin)
        frames.append(from_atoms(atoms))
    with caplog.at_level(logging.WARNING):
        found = predict(potential_of(OfInfo()), frames, labels=["energy"])
    for frame, prediction in zip(frames, found, strict=True):
        assert prediction.labels["energy"] == float(frame.total_charge) + 10 * float(frame.multiplicity)
    assert caplog.text.count("OfInfo has no setting for total charge and multiplicity") == 1


@pytest.mark.parametrize("kind", [Springs, OfInfo])
def test_a_calculator_that_is_told_of_other_states_elsewhere(kind):
    """Two terms with one calculator, in turns, on one geometry."""
    calculator, atoms, frames = kind(), molecule(1), []
    for charge, spin in ((0, atoms.info["multiplicity"]), (1, 3 - atoms.info["multiplicity"])):
        atoms.info.update(total_charge=charge, multiplicity=spin)
        frames.append(from_atoms(atoms))
    found, turns = [], 2 * list(zip((potential_of(calculator), potential_of(calculator)), frames, strict=True))
    for potential, frame in turns:
        found.append(predict(potential, [frame], labels=["energy"])[0].labels["energy"])
    assert found[:2] == found[2:] and found[0] != found[1]


def test_settings_by_which_state_is_told():
    assert state_settings(Springs()) == {"total_charge": "charge", "multiplicity": "multiplicity"}
    assert state_settings(lennard_jones()) == {}


def test_evaluation_with_errors_by_element():
    frames = [from_atoms(atoms) for atoms in one_of_each().values()]
    potential = potential_of(lennard_jones())
    for frame, prediction in zip(frames, predict(potential, frames), strict=True):
        frame.energy = torch.tensor(prediction.labels["energy"]).reshape(1) - 0.1
        frame.forces = torch.tensor(prediction.labels["forces"])
    evaluation = evaluate_potential(potential, frames)
    assert evaluation.errors["energy"].bias == pytest.approx(100.0)
    assert evaluation.errors["forces"].max < 1e-9 and "C" in evaluation.parts["element"]
    assert any("total_charge" in note and "no part of the model reads" in note for note in evaluation.notes)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("raise", "Fails failed on .*ZeroDivisionError: SCF not converged"),
        ("lacks", "Fails gives no forces for"),
        ("nan", "Fails gives energy for .* that are no finite numbers of shape"),
        ("wide", r"Fails gives forces for .* of shape \(7, 3\)"),
    ],
)
def test_failures_name_the_structure(how, words):
    frame = from_atoms(molecule(1))
    frame.source, frame.frame = "file.extxyz", 7
    with pytest.raises(ModelError, match=f"file.extxyz, frame 7: {words}"):
        predict(potential_of(Fails(how)), [frame])


def test_neither_trained_nor_differentiated_twice():
    potential = potential_of(lennard_jones())
    graph = graph_from_batch(collate([from_atoms(molecule(1))]), torch.float64)
    with pytest.raises(ModelError, match="no second derivatives"):
        potential.train()(graph)
    positions = graph.positions.clone().requires_grad_()
    energy, _ = potential.eval().energy(graph.deformed(positions))
    (slope,) = torch.autograd.grad(energy.sum(), positions, create_graph=True)
    with pytest.raises(RuntimeError):
        slope.square().sum().backward()


def test_a_config_makes_a_calculator_of_an_allowed_package():
    spec = {"_target_": f"{HERE}.springs", "strength": 2.0, "verbosity": 0}
    found = build_calculator(spec, [HERE])
    assert found.calculator.parameters["strength"] == 2.0
    assert found.name == f"{HERE}.springs(strength=2)"  # how much is printed changes no result
    assert method_name(f"{HERE}:Springs") == f"{HERE}.Springs" == build_calculator(f"{HERE}:Springs").name


def test_calculators_within_calculators():
    part = {"_target_": f"{HERE}.springs", "charge": 0, "multiplicity": 1}
    spec = {"_target_": "ase.calculators.mixing.SumCalculator", "calcs": [part, part | {"strength": 2.0}]}
    found = build_calculator(spec, [HERE, "ase"])
    atoms = molecule(1)
    away = atoms.positions - atoms.positions.mean(axis=0)
    assert found.calculator.get_property("energy", atoms) == pytest.approx(1.5 * (away**2).sum() + 1.0)
    assert f"calcs=[{HERE}.springs(charge=0, multiplicity=1), " in found.name


@pytest.mark.parametrize(
    ("spec", "packages", "words"),
    [
        ({"_target_": "ase.calculators.emt.EMT"}, [], r"not allowed. If you trust it, give packages=\[ase\]"),
        ({"_target_": f"{HERE}.spring"}, [HERE], f"there is no '{HERE}.spring' here"),
        ({"_target_": "no_such_package.X"}, ["no_such_package"], "Is 'no_such_package' installed"),
        ({"_target_": f"{HERE}.springs", "colour": 1, "strength": {"_target_": 3}}, [HERE], "no '_target_' that names"),
        ({"_target_": f"{HERE}.Fails", "colour": 1}, [HERE], "can't be made with colour: TypeError"),
        ({"method": "GFN2-xTB"}, [], "no '_target_' that names"),
        ({"_target_": f"{HERE}.lennard_jones.x"}, [HERE], "there is no"),
        ({"_target_": f"{HERE}.np.zeros", "shape": 3}, [HERE], "there is no"),
        ({"_target_": f"{HERE}.NoForces"}, [HERE], "gives no forces"),
        ({"_target_": "eqff.testing.structures.molecule", "seed": 1}, [], "no ASE calculator"),
    ],
)
def test_refusals(spec, packages, words):
    with pytest.raises(ConfigError, match=words):
        build_calculator(spec, packages)


def test_what_is_at_hand_is_checked_too():
    with pytest.raises(ConfigError, match="gives no forces"):
        named_calculator(NoForces())


def test_default_dtype_stays_as_it_was():
    found = build_calculator(f"{HERE}.sets_default_dtype", [HERE])
    assert torch.get_default_dtype() == torch.float32 and found.dtype == torch.float64


def test_as_good_as_the_package_itself():
    tblite = pytest.importorskip("tblite.ase", reason="tblite is not installed")
    cation = molecule(2, 6, total_charge=1)
    expected = tblite.TBLite(method="GFN1-xTB", charge=1, multiplicity=cation.info["multiplicity"], verbosity=0)
    given = build_calculator({"_target_": "tblite.ase.TBLite", "method": "GFN1-xTB", "verbosity": 0}, ["tblite"])
    (found,) = predict(calculator_potential(given), [from_atoms(cation)], labels=["energy", "forces", "charges"])
    assert found.labels["energy"] == pytest.approx(expected.get_property("energy", cation), abs=1e-8)
    np.testing.assert_allclose(found.labels["forces"], expected.get_property("forces", cation), atol=1e-7)
    assert found.labels["charges"].sum() == pytest.approx(1.0, abs=1e-6)
