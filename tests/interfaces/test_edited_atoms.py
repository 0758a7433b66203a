"""Atoms edited in any way between calculations: always what a fresh calculator gives, to the bit."""

import copy
import pickle

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.constraints import FixAtoms

from eqff.build import ModelContext, build_potential
from eqff.errors import EqffError
from eqff.interfaces.ase import EqffCalculator
from eqff.interfaces.skin import FEW
from eqff.testing.structures import crystal, molecule

CONFIG = {
    "backbone": {"_target_": "eqff.testing.minimal.MinimalBackbone", "channels": 4, "num_passes": 2, "cutoff": 3.0},
    "heads": {"charges": {"_target_": "eqff.heads.charges.Charges", "hidden": 4}},
    "terms": {
        "local": {"_target_": "eqff.terms.local.LocalEnergy", "hidden": 4},
        "zbl": {"_target_": "eqff.terms.zbl.ZBLRepulsion", "inner": 0.8, "outer": 1.6},
    },
}
ASKED = ("forces", "energy", "charges", "energies_per_term", "stress")


@pytest.fixture(scope="module")
def potential():
    torch.manual_seed(0)
    context = ModelContext((1, 6, 7, 8), {1: -13.6, 6: -1030.0, 7: -1486.0, 8: -2042.0})
    return build_potential(CONFIG, context, torch.float32)


def large(seed):
    """More atoms than lists of all pairs are for."""
    rng = np.random.default_rng(seed)
    places = np.stack(np.meshgrid(*[np.arange(4)] * 3), -1).reshape(-1, 3)[: FEW + 2]
    info = {"total_charge": 0, "multiplicity": 1}
    return Atoms(["H"] * (FEW + 2), 1.7 * places + 0.1 * rng.standard_normal(places.shape), info=info)


def shake(atoms, rng):
    atoms.positions += 0.05 * rng.standard_normal(atoms.positions.shape)


def shake_anew(atoms, rng):
    atoms.arrays["positions"] = atoms.arrays["positions"] + 0.05 * rng.standard_normal(atoms.positions.shape)


def one_bit(atoms, rng):
    atom = rng.integers(len(atoms))
    atoms.positions[atom, 0] = np.nextafter(atoms.positions[atom, 0], 1e3)


def other_element(atoms, rng):
    atoms.numbers[rng.integers(len(atoms))] = rng.choice([1, 6, 7, 8])


def unknown_element(atoms, rng):
    atoms.numbers[rng.integers(len(atoms))] = rng.choice([1, 9])


def other_order(atoms, rng):
    order = rng.permutation(len(atoms))
    for name, values in atoms.arrays.items():
        atoms.arrays[name] = values[order]


def not_a_number(atoms, rng):
    atoms.positions[rng.integers(len(atoms)), 1] = rng.choice([np.nan, np.inf])


def back(atoms, rng):
    atoms.positions[~np.isfinite(atoms.positions)] = rng.uniform(20, 30)
    atoms.numbers[atoms.numbers == 9] = 1


def charged(atoms, rng):
    atoms.info.update(total_charge=int(rng.integers(-1, 2)), multiplicity=rng.choice([1, 2]))


def nowhere_charged(atoms, rng):
    atoms.info.pop("total_charge", None)


def cell(atoms, rng):
    atoms.cell[:] = (6 + rng.random()) * np.eye(3) + 0.2 * rng.standard_normal((3, 3))


def no_cell(atoms, rng):
    atoms.cell[rng.integers(3)] = 0.0


def strained(atoms, rng):
    with np.errstate(invalid="ignore"):  # positions that are not finite
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.01 * rng.standard_normal((3, 3))), scale_atoms=True)


def periodic(atoms, rng):
    atoms.pbc[rng.integers(3)] ^= True


def removed(atoms, rng):
    if len(atoms) > 3:
        del atoms[int(rng.integers(len(atoms)))]


def added(atoms, rng):
    atoms.extend(Atoms("H", [rng.uniform(-6, 6, 3)]))


def held(atoms, rng):
    atoms.set_constraint(FixAtoms([0]) if rng.random() < 0.5 else None)


def momenta(atoms, rng):
    atoms.set_momenta(rng.standard_normal((len(atoms), 3)))


def nothing(atoms, rng):
    """Asked twice."""


EDITS = (shake, shake_anew, one_bit, other_element, unknown_element, other_order, not_a_number, back, charged)
EDITS += (nowhere_charged, cell, no_cell, strained, periodic, removed, added, held, momenta, nothing)


def answer(calculator, atoms, name):
    """What comes back, or what went wrong."""
    atoms.calc = calculator
    try:
        return atoms.get_forces() if name == "forces" else atoms.calc.get_property(name, atoms)
    except (EqffError, NotImplementedError) as error:
        return type(error)


def assert_same(found, expected):
    if isinstance(expected, np.ndarray):
        np.testing.assert_array_equal(found, expected)
    else:
        assert found == expected


@pytest.mark.parametrize("make", [molecule, crystal, large])
def test_every_edit_is_noticed(potential, make):
    rng, answers, refusals = np.random.default_rng(7), 0, 0
    structures = [make(1), make(2)]
    settings = {"multiplicity": "lowest"}
    calculator = EqffCalculator(potential, **settings)
    for atoms in structures:
        atoms.info.pop("multiplicity", None)
    for _ in range(40):
        atoms = structures[rng.integers(2)]
        for edit in rng.choice(EDITS, rng.integers(1, 3)):
            edit(atoms, rng)
            atoms.info.pop("multiplicity", None)
        for name in rng.choice(ASKED, 2):
            found = answer(calculator, atoms, name)
            expected = answer(EqffCalculator(potential, **settings), atoms, name)
            assert_same(found, expected)
            answers, refusals = answers + (not isinstance(expected, type)), refusals + isinstance(expected, type)
        if rng.random() < 0.5:  # or the next would mostly fail as this one
            back(atoms, rng)
            atoms.info["total_charge"] = 0
    assert answers > 20 and refusals > 5


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda calculator: pickle.loads(pickle.dumps(calculator))])
def test_copies_go_on_by_themselves(potential, copied):
    atoms, rng = molecule(1), np.random.default_rng(0)
    calculator = EqffCalculator(potential)
    before = answer(calculator, atoms, "forces")
    other = copied(calculator)
    assert_same(answer(other, atoms, "forces"), before)
    shake(atoms, rng)
    expected = answer(EqffCalculator(potential), atoms, "forces")
    for each in (other, calculator):
        assert_same(answer(each, atoms, "forces"), expected)


def test_what_is_handed_out_may_be_edited(potential):
    atoms = molecule(1)
    atoms.calc = EqffCalculator(potential)
    before = atoms.get_forces()
    atoms.get_forces()[:] = 0.0
    atoms.calc.atoms.positions[:] = 0.0
    atoms.calc.get_charges()[:] = 1.0
    assert_same(atoms.get_forces(), before)
    shake(atoms, np.random.default_rng(0))
    assert_same(atoms.get_forces(), answer(EqffCalculator(potential), atoms.copy(), "forces"))
