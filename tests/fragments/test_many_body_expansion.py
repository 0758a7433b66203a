"""Many-body expansions: exact where energies are sums of so many bodies, and no more than that where they aren't."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from eqff.errors import ConfigError, DataError
from eqff.fragments.bonded import bonded_fragments
from eqff.fragments.many_body import ManyBodyExpansion, many_body_expansion
from eqff.interfaces.calculator_energy import calculator_potential
from eqff.interfaces.calculators import NamedCalculator, build_calculator
from eqff.testing.graphs import graph_of

PLACES = ((0, 0, 0), (3.1, 0.2, 0.4), (0.5, 3.3, -0.3), (1.0, 1.1, 3.4))


class Triples(Calculator):
    """E = sum over triples of atoms of 1/(r_ij r_jk r_ki), without cutoff: three-body, and two-body of molecules."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF100

    def calculate(self, atoms=None, properties=("energy",), system_changes=tuple(all_changes)):
        super().calculate(atoms, properties, system_changes)
        energy, forces, r = 0.0, np.zeros((len(atoms), 3)), atoms.positions
        for triple in combinations(range(len(atoms)), 3):
            pairs = list(combinations(triple, 2))
            lengths = [np.linalg.norm(r[i] - r[j]) for i, j in pairs]
            value = 1 / np.prod(lengths)
            energy += value
            for (i, j), length in zip(pairs, lengths, strict=True):
                along = value * (r[i] - r[j]) / length**2
                forces[i] += along
                forces[j] -= along
        self.results = {"energy": energy, "forces": forces}


def waters(count: int = 4, shuffled: bool = True) -> Atoms:
    cluster = Atoms()
    for place in PLACES[:count]:
        one = molecule("H2O")
        one.rattle(0.05, seed=len(cluster))
        one.positions += place
        cluster += one
    cluster.arrays["fragment"] = np.repeat(np.arange(count) * 2, 3)  # numbers may have gaps
    return cluster[np.random.default_rng(0).permutation(len(cluster))] if shuffled else cluster


def whole(atoms: Atoms, calculator) -> tuple[float, np.ndarray]:
    return calculator.get_property("energy", atoms), calculator.get_property("forces", atoms)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("calculator", "order"), [(LennardJones(rc=20.0), 2), (Triples(), 3)], ids=["pairs", "triples"]
)
def test_sums_of_so_many_bodies_are_met_exactly(calculator, order, count):
    atoms = waters(count)
    energy, forces = whole(atoms, calculator)
    found = many_body_expansion(atoms, calculator, order)
    assert found.energy == pytest.approx(energy, rel=1e-11)
    np.testing.assert_allclose(found.forces, forces, atol=1e-10 * np.abs(forces).max())
    assert len(found.orders) == min(order, count)


def test_lower_orders_are_those_of_the_definition():
    """E(≤2) from increments, pair by pair, in a plain loop."""
    atoms, calculator = waters(4), EMT()  # many-body
    parts = [atoms[atoms.arrays["fragment"] == n] for n in np.unique(atoms.arrays["fragment"])]
    alone = [calculator.get_property("energy", part) for part in parts]
    increments = sum(
        calculator.get_property("energy", parts[i] + parts[j]) - alone[i] - alone[j]
        for i, j in combinations(range(len(parts)), 2)
    )
    found = many_body_expansion(atoms, calculator, 2)
    assert found.orders == pytest.approx((sum(alone), sum(alone) + increments), rel=1e-12)


@pytest.mark.parametrize("order", [4, 9])
def test_as_many_bodies_as_there_are_fragments_give_everything(order):
    atoms, calculator = waters(4), EMT()
    energy, forces = whole(atoms, calculator)
    found = many_body_expansion(atoms, calculator, order)
    assert found.energy == pytest.approx(energy, rel=1e-12)
    np.testing.assert_allclose(found.forces, forces, atol=1e-12)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_forces_are_those_of_the_sum(order):
    atoms, calculator, step = waters(4), EMT(), 1e-4
    found = many_body_expansion(atoms, calculator, order)
    direction = np.random.default_rng(1).normal(size=(len(atoms), 3))
    ends = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions += sign * step * direction
        ends.append(many_body_expansion(moved, calculator, order).energy)
    assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(-(found.forces * direction).sum(), rel=1e-5)


def test_calculator_finds_fragments_by_bonds_also_across_boundaries():
    atoms = waters(3, shuffled=False)
    atoms.set_cell(np.eye(3) * 9.0)
    atoms.pbc = True
    atoms.wrap()
    assert bonded_fragments(atoms).tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    inner = LennardJones(rc=4.0)  # pairs of images too: a fragment with all its images is one body
    energy, forces = whole(atoms, inner)
    del atoms.arrays["fragment"]
    atoms.calc = ManyBodyExpansion(inner, order=2)
    assert atoms.get_potential_energy() == pytest.approx(energy, rel=1e-11)
    np.testing.assert_allclose(atoms.get_forces(), forces, atol=1e-10)


def test_calculator_notices_other_fragments():
    atoms = waters(2)
    atoms.calc = ManyBodyExpansion(LennardJones(rc=20.0), order=1, source="stated")
    apart = atoms.get_potential_energy()
    atoms.arrays["fragment"] = np.zeros(len(atoms), dtype=int)
    together = atoms.get_potential_energy()
    assert together == pytest.approx(LennardJones(rc=20.0).get_property("energy", atoms), rel=1e-12)
    assert abs(together - apart) > 1e-3


def test_it_can_be_named_in_a_config():
    inner = {"_target_": "ase.calculators.lj.LennardJones", "rc": 20.0}
    named = build_calculator(
        {"_target_": "eqff.fragments.many_body.ManyBodyExpansion", "calculator": inner, "order": 1}, packages=["ase"]
    )
    atoms = waters(2)
    alone = [whole(atoms[atoms.arrays["fragment"] == n], LennardJones(rc=20.0))[0] for n in (0, 2)]
    assert named.calculator.get_property("energy", atoms) == pytest.approx(sum(alone), rel=1e-12)


def test_fragments_that_structures_state_reach_it_also_as_a_term():
    atoms, inner = waters(3), LennardJones(rc=20.0)
    atoms.arrays["fragment"] = np.minimum(atoms.arrays["fragment"], 2)  # two molecules as one fragment
    atoms.info.update(total_charge=0, multiplicity=1)
    expected = many_body_expansion(atoms, inner, 1).energy
    named = NamedCalculator(ManyBodyExpansion(inner, order=1, source="stated"), None, torch.float64)
    potential = calculator_potential(named)
    found = potential(graph_of([atoms], potential.neighbour_lists, torch.float64), forces=False)
    assert float(found["energy"]) == pytest.approx(expected, rel=1e-12)
    bonded = ManyBodyExpansion(inner, order=1).get_property("energy", atoms)
    assert abs(bonded - expected) > 1e-3


class Asked(LennardJones):
    """Remembers what it was told of charge and spin."""

    def __init__(self):
        super().__init__(rc=20.0)
        self.told = []

    def calculate(self, atoms=None, properties=("energy",), system_changes=tuple(all_changes)):
        self.told.append((str(atoms.symbols), atoms.info["total_charge"], atoms.info["multiplicity"]))
        super().calculate(atoms, properties, system_changes)


def test_ions_keep_their_charges():
    atoms = Atoms("NaOH", [[0, 0, 0], [2.5, 0, 0], [3.4, 0, 0]], info={"total_charge": 0, "multiplicity": 1})
    atoms.arrays["fragment"] = np.array([0, 1, 1])
    atoms.arrays["fragment_charge"] = np.array([1.0, -1.0, -1.0])
    asked = Asked()
    many_body_expansion(atoms, asked, 2)
    assert set(asked.told) == {("Na", 1, 1), ("OH", -1, 1), ("NaOH", 0, 1)}


def test_what_can_not_be_expanded():
    atoms = waters(2)
    with pytest.raises(ConfigError, match="order is 0"):
        many_body_expansion(atoms, EMT(), 0)
    with pytest.raises(ConfigError, match="source is 'bond'"):
        ManyBodyExpansion(EMT(), source="bond")
    triplet = atoms.copy()
    triplet.info.update(total_charge=0, multiplicity=3)
    with pytest.raises(DataError, match="its multiplicity is 3, but"):
        many_body_expansion(triplet, EMT(), 1)
    uneven = atoms.copy()
    uneven.arrays["fragment_charge"] = np.arange(6.0)
    with pytest.raises(DataError, match="one whole number"):
        many_body_expansion(uneven, EMT(), 1)
    atoms.info["total_charge"] = 1
    with pytest.raises(DataError, match="don't add up to its total charge"):
        many_body_expansion(atoms, EMT(), 1)
    with pytest.raises(DataError, match="states no fragments"):
        many_body_expansion(molecule("H2O"), EMT(), 1)
    named = waters(2)
    named.arrays["fragment"] = np.array([f"W{n}" for n in named.arrays["fragment"]])
    with pytest.raises(DataError, match=r"should be numbers, but is .*W0.* np\.unique\(names"):
        many_body_expansion(named, EMT(), 1)


def test_calculator_notices_charges_that_are_edited_in_place():
    atoms = Atoms("NaOH", [[0, 0, 0], [2.5, 0, 0], [3.4, 0, 0]], info={"total_charge": 0, "multiplicity": 1})
    atoms.arrays["fragment"] = np.array([0, 1, 1])
    atoms.arrays["fragment_charge"] = np.array([1.0, -1.0, -1.0])
    asked = Asked()
    atoms.calc = ManyBodyExpansion(asked, order=1, source="stated")
    first = atoms.get_potential_energy()
    assert atoms.get_potential_energy() == first and len(asked.told) == 2  # nothing is computed twice
    atoms.arrays["fragment_charge"] *= -1
    atoms.get_potential_energy()
    assert set(asked.told[2:]) == {("Na", -1, 1), ("OH", 1, 1)}


def test_charges_of_fragments_that_follow_from_bonds_reach_it_as_a_term():
    atoms = Atoms("NaOH", [[0, 0, 0], [4.5, 0, 0], [5.4, 0, 0]], info={"total_charge": 0, "multiplicity": 1})
    atoms.arrays["fragment_charge"] = np.array([1.0, -1.0, -1.0])  # and no numbers
    asked = Asked()
    potential = calculator_potential(NamedCalculator(ManyBodyExpansion(asked, order=1), None, torch.float64))
    potential(graph_of([atoms], potential.neighbour_lists, torch.float64), forces=False)
    assert set(asked.told) == {("Na", 1, 1), ("OH", -1, 1)}
