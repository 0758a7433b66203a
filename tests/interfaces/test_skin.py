"""Lists with a skin: along any trajectory, the pairs are those of a new search, in the same order."""

import numpy as np
import pytest
import torch
from ase import Atoms
from hypothesis import given, settings
from hypothesis import strategies as st

from eqff.build import ModelContext, build_potential
from eqff.data.neighbours import neighbour_pairs
from eqff.errors import DataError, ModelError
from eqff.interfaces import skin
from eqff.interfaces.ase import EqffCalculator
from eqff.interfaces.pairs import FoundPairs
from eqff.interfaces.skin import SkinLists
from eqff.testing.structures import crystal, molecule

CUTOFFS = {"local": 3.0, "wide": 4.5}


def fresh(positions, cell, pbc, cutoff):
    return neighbour_pairs(positions, np.where(np.asarray(pbc)[:, None], cell, 0.0), pbc, cutoff)


def assert_same(lists, positions, cell, pbc):
    found = lists(positions, cell, pbc)
    for name, cutoff in lists.cutoffs.items():
        sender, receiver, shift = fresh(positions, cell, pbc, cutoff)
        np.testing.assert_array_equal(found[name].sender, sender)
        np.testing.assert_array_equal(found[name].receiver, receiver)
        np.testing.assert_array_equal(found[name].shift, shift)
        vectors = positions[sender] - positions[receiver] + shift @ np.where(np.asarray(pbc)[:, None], cell, 0.0)
        np.testing.assert_allclose(found[name].lengths, np.linalg.norm(vectors, axis=1), rtol=1e-12)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    pbc=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    atoms=st.integers(1, 9),
    edge=st.sampled_from([2.3, 5.0, 9.0]),
    skin=st.sampled_from([0.0, 0.3, 1.5]),
    strained=st.booleans(),
)
def test_along_random_walks_with_changing_cells(seed, pbc, atoms, edge, skin, strained):
    rng, pbc = np.random.default_rng(seed), np.array(pbc)
    cell = edge * (np.eye(3) + 0.3 * rng.uniform(-1, 1, (3, 3)))
    positions = rng.uniform(-1.5, 1.5, (atoms, 3)) @ cell
    lists = SkinLists(CUTOFFS, skin)
    for _ in range(12):
        assert_same(lists, positions, cell, pbc)
        positions = positions + 0.05 * rng.standard_normal(positions.shape)
        if strained:  # the way of barostats: positions follow, in part
            strain = np.eye(3) + 0.02 * rng.standard_normal((3, 3))
            cell = cell @ strain
            positions = positions @ strain if rng.random() < 0.7 else positions


@pytest.mark.parametrize("moved", ["towards", "shrink", "shear", "rotate", "jump"])
def test_a_pair_that_comes_within_the_cutoff_is_found(moved):
    """From just outside of cutoff + skin to inside, by the atoms or by the cell alone."""
    cell, pbc = np.diag([8.0, 8.0, 8.0]), np.ones(3, bool)
    positions = np.array([[0.0, 0.0, 0.0], [3.55, 0.0, 0.0]])
    lists = SkinLists({"local": 3.0}, 0.5)
    assert len(lists(positions, cell, pbc)["local"].sender) == 0
    steps = {"towards": 60, "shrink": 60, "shear": 60, "rotate": 30, "jump": 1}[moved]
    for step in range(1, steps + 1):
        share = step / steps
        now, box = positions.copy(), cell.copy()
        if moved in ("towards", "jump"):
            now[0, 0], now[1, 0] = 0.4 * share, 3.55 - 0.4 * share
        elif moved == "shrink":
            now, box = positions * (1 - 0.3 * share), cell * (1 - 0.3 * share)
        elif moved == "shear":
            box = cell.copy()
            box[1, 0] = 4.0 * share
        else:
            angle = share * np.pi / 3
            turn = np.array([[np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0], [0, 0, 1.0]])
            now, box = positions @ turn, cell @ turn
        assert_same(lists, now, box, pbc)
    if moved in ("towards", "shrink", "jump"):
        assert len(lists(now, box, pbc)["local"].sender) == 2


def test_searches_only_when_needed():
    rng = np.random.default_rng(0)
    cell, pbc = np.diag([9.0, 9.0, 9.0]), np.ones(3, bool)
    positions = rng.uniform(0, 9, (40, 3))
    lists = SkinLists({"local": 3.0}, 0.5)
    for _ in range(10):  # two atoms can come closer by 0.2 Å at the end
        lists(positions, cell, pbc)
        positions = positions + 0.01 * np.sign(rng.standard_normal(positions.shape)) / np.sqrt(3)
    assert (lists.searches, lists.updates) == (1, 10)
    lists(positions * 0.98, cell * 0.98, pbc)  # all pairs on a straight line inwards by 2 % of 3.5 Å
    assert lists.searches == 1
    lists(positions * 0.8, cell * 0.8, pbc)
    assert lists.searches == 2
    lists(positions * 0.8, cell * 0.8, np.array([True, True, False]))
    assert lists.searches == 3
    lists(positions[:-1] * 0.8, cell * 0.8, np.array([True, True, False]))
    assert lists.searches == 4


def test_rigid_motion_of_a_whole_crystal_with_its_cell_needs_no_search():
    lists, pbc, rng = SkinLists({"local": 3.0}, 0.3), np.ones(3, bool), np.random.default_rng(1)
    cell, positions = 5 * np.eye(3), rng.uniform(0, 5, (8, 3))
    lists(positions, cell, pbc)
    turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    assert_same(lists, positions @ turn, cell @ turn, pbc)
    assert lists.searches == 1


def test_a_skin_below_zero_and_a_missing_lattice_vector_are_errors():
    with pytest.raises(ModelError, match=r"skin is -0\.1"):
        SkinLists(CUTOFFS, -0.1)
    with pytest.raises(DataError, match="periodic along a, b, c"):
        SkinLists(CUTOFFS, 0.5)(np.zeros((1, 3)), np.diag([4.0, 0.0, 4.0]), np.ones(3, bool))


@pytest.fixture(scope="module")
def potential():
    torch.manual_seed(0)
    config = {
        "backbone": {"_target_": "eqff.testing.minimal.MinimalBackbone", "channels": 4, "num_passes": 2, "cutoff": 3.0},
        "terms": {
            "local": {"_target_": "eqff.terms.local.LocalEnergy", "hidden": 4},
            "zbl": {"_target_": "eqff.terms.zbl.ZBLRepulsion", "inner": 0.8, "outer": 1.6},
        },
    }
    return build_potential(
        config, ModelContext((1, 6, 7, 8), {1: -13.6, 6: -1030.0, 7: -1486.0, 8: -2042.0}), torch.float64
    )


@pytest.mark.parametrize("make", [molecule, crystal])
def test_a_calculator_along_a_path_gives_what_a_new_one_gives_to_the_bit(potential, make):
    atoms, rng = make(1), np.random.default_rng(0)
    atoms.calc = EqffCalculator(potential, skin=0.8)
    for step in range(8):
        again = atoms.copy()
        again.calc = EqffCalculator(potential, skin=0.0)
        assert atoms.get_potential_energy() == again.get_potential_energy()
        np.testing.assert_array_equal(atoms.get_forces(), again.get_forces())
        atoms.positions += 0.02 * rng.standard_normal(atoms.positions.shape)
        if atoms.pbc.any():
            atoms.set_cell(
                atoms.cell.array @ (np.eye(3) + 0.01 * rng.standard_normal((3, 3))), scale_atoms=step % 2 == 0
            )
    assert atoms.calc.neighbours.searches < atoms.calc.neighbours.updates


def test_one_calculator_for_several_structures(potential):
    calculator = EqffCalculator(potential)
    energies = []
    for atoms in (molecule(1), crystal(1), molecule(2), molecule(1)):
        atoms.calc = calculator
        energies.append(atoms.get_potential_energy())
        other = atoms.copy()
        other.calc = EqffCalculator(potential)
        assert energies[-1] == other.get_potential_energy()
    assert energies[0] == energies[3]


def test_with_stress_gives_forces_and_stress_at_once(potential, monkeypatch):
    atoms = crystal(1)
    atoms.calc = EqffCalculator(potential)
    plain = atoms.get_forces(), atoms.get_stress()
    atoms.calc = EqffCalculator(potential, with_stress=True)
    np.testing.assert_allclose(atoms.get_forces(), plain[0], atol=1e-12)
    monkeypatch.setattr(atoms.calc, "calculate", None)
    np.testing.assert_allclose(atoms.get_stress(), plain[1], atol=1e-12)


def test_shortest_distance_counts_images(potential):
    atoms = Atoms("H2", [[0.1, 0, 0], [3.6, 0, 0]], cell=[4, 5, 5], pbc=True)
    atoms.calc = EqffCalculator(potential, total_charge=0, multiplicity=1)
    atoms.get_potential_energy()
    length, first, second = atoms.calc.shortest_distance()
    assert length == pytest.approx(0.5) and {first, second} == {0, 1}
    alone = Atoms("H", info={"total_charge": 0, "multiplicity": 2}, calculator=EqffCalculator(potential))
    alone.get_potential_energy()
    assert alone.calc.shortest_distance()[0] == np.inf


@pytest.mark.parametrize("code", ["plain", "compiled"])
@pytest.mark.parametrize("atoms", [molecule(1, 5), crystal(2)], ids=["molecule", "crystal"])
def test_atoms_that_come_to_lie_on_each_other_are_named(monkeypatch, code, atoms):
    """Without a new search, too; and the lists are right again after that."""
    if code == "plain":
        monkeypatch.setattr(skin, "found_pairs", FoundPairs)
    lists, positions, cell = SkinLists(CUTOFFS, 0.5), atoms.positions.copy(), atoms.cell.array
    for apart in (0.2, 0.1):
        positions[3] = positions[1] + [0.0, 0.0, apart]
        assert_same(lists, positions, cell, atoms.pbc)
        with pytest.raises(DataError, match="structure: atoms 1 and 3 .* are 5e-05 Å apart"):
            lists(np.array([*positions[:3], positions[1] + [0.0, 3e-5, 4e-5], *positions[4:]]), cell, atoms.pbc)
    assert lists.searches == 1
