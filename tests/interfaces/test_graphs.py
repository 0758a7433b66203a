"""The graph of a structure that moves, against the graph of the same structure made anew."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms

from eqff.data.atoms import from_atoms
from eqff.data.batching import collate
from eqff.data.graph import INPUTS, graph_from_batch
from eqff.data.neighbours import add_neighbours
from eqff.errors import ModelError
from eqff.interfaces.graphs import MovingGraph, lasting, require_precision
from eqff.interfaces.skin import FEW, SkinLists
from eqff.testing.structures import crystal, molecule

CUTOFFS = {"local": 3.0, "wide": 4.5}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("make", [molecule, crystal])
def test_it_is_that_of_a_structure_made_anew(make, dtype):
    atoms, rng = make(1), np.random.default_rng(0)
    data = from_atoms(atoms, total_charge=0, multiplicity="lowest")
    moving, lists = MovingGraph(lasting(data, dtype, torch.device("cpu"))), SkinLists(CUTOFFS, 0.5)
    for _ in range(3):
        atoms.positions += 0.1 * rng.standard_normal(atoms.positions.shape)
        cell = atoms.cell.array if atoms.pbc.any() else np.zeros((3, 3))
        graph = moving(atoms.positions, cell, lists(atoms.positions, cell, atoms.pbc))
        anew = add_neighbours(from_atoms(atoms, total_charge=0, multiplicity="lowest"), CUTOFFS)
        expected = graph_from_batch(collate([anew]), dtype)
        for name in INPUTS:
            torch.testing.assert_close(getattr(graph, name), getattr(expected, name), rtol=0, atol=0)
        rounding = {torch.float32: 2e-6, torch.float64: 1e-14}[dtype]
        for name, edges in expected.edges.items():
            for field in ("sender", "receiver", "shift", "slots"):
                assert torch.equal(getattr(graph.edges[name], field), getattr(edges, field))
            torch.testing.assert_close(graph.edges[name].vectors, edges.vectors, rtol=0, atol=rounding)
            torch.testing.assert_close(graph.edges[name].lengths, edges.lengths, rtol=0, atol=rounding)


def test_positions_are_copies():
    atoms = molecule(1)
    kept = lasting(from_atoms(atoms, total_charge=0, multiplicity="lowest"), torch.float64, torch.device("cpu"))
    graph = MovingGraph(kept)(atoms.positions, np.zeros((3, 3)), {})
    before = graph.positions.clone()
    atoms.positions += 1.0
    assert torch.equal(graph.positions, before)


@pytest.mark.parametrize(("atoms", "searches"), [(FEW, 1), (FEW + 1, 4)])
def test_all_pairs_of_a_small_molecule_are_searched_once(atoms, searches):
    lists, rng = SkinLists(CUTOFFS, 0.0), np.random.default_rng(0)
    for _ in range(4):
        lists(rng.uniform(0, 8, (atoms, 3)), np.zeros((3, 3)), np.zeros(3, bool))
    assert lists.searches == searches


def test_tensors_of_pairs_serve_again_until_a_pair_comes_or_goes():
    positions, cell, pbc = np.array([[0.0, 0, 0], [1, 0, 0], [3.5, 0, 0]]), np.zeros((3, 3)), np.zeros(3, bool)
    atoms = Atoms("HHH", positions)
    kept = lasting(from_atoms(atoms, total_charge=0, multiplicity=2), torch.float64, torch.device("cpu"))
    moving, lists = MovingGraph(kept), SkinLists({"local": 3.0}, 0.5)
    first = moving(positions, cell, lists(positions, cell, pbc)).local
    positions[1, 0] = 0.9
    second = moving(positions, cell, lists(positions, cell, pbc)).local
    assert second.sender is first.sender and second.slots is first.slots
    assert second.lengths[0] == 0.9 and first.lengths[0] == 1.0
    positions[2, 0] = 3.0 - 1e-9
    third = moving(positions, cell, lists(positions, cell, pbc)).local
    assert len(third.sender) == len(first.sender) + 2


def test_a_moved_graph_is_a_replaced_one():
    atoms = molecule(1)
    graph = lasting(from_atoms(atoms, total_charge=0, multiplicity="lowest"), torch.float64, torch.device("cpu"))
    graph.once("volume", lambda: graph.volume)
    new = {"positions": graph.positions + 1, "cell": graph.cell + 1, "edges": {"local": None}}
    moved, expected = graph.moved(**new), replace(graph, **new)
    assert type(moved) is type(expected)
    assert vars(moved).keys() == vars(expected).keys()
    assert all(vars(moved)[name] is vars(expected)[name] for name in vars(expected) if name != "_made")
    assert moved._made == {} and graph._made  # another geometry begins without


def test_vectors_read_late_are_those_of_then():
    positions, atoms = np.array([[0.0, 0, 0], [1, 0, 0]]), Atoms("HH", np.zeros((2, 3)))
    kept = lasting(from_atoms(atoms, total_charge=0, multiplicity=1), torch.float64, torch.device("cpu"))
    moving, lists = MovingGraph(kept), SkinLists({"local": 3.0}, 0.5)
    first = moving(positions, np.zeros((3, 3)), lists(positions, np.zeros((3, 3)), np.zeros(3, bool))).local
    positions[1, 0] = 2.0
    moving(positions, np.zeros((3, 3)), lists(positions, np.zeros((3, 3)), np.zeros(3, bool)))
    copied = copy.deepcopy(first)
    for edges in (first, copied):
        assert edges.lengths.tolist() == [1.0, 1.0] and edges.vectors[:, 0].tolist() == [1.0, -1.0]
        assert edges.lengths is edges.lengths
        with pytest.raises(AttributeError, match="no 'length'"):
            edges.length  # noqa: B018


def test_precision_that_calculators_lack():
    with pytest.raises(ModelError, match="float32 or float64, not in bfloat16"):
        require_precision(torch.bfloat16)
