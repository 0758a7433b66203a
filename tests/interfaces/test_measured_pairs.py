"""Pairs of a list in one geometry after the other, whichever code measures them."""

import copy
import pickle

import numpy as np
import pytest
import torch

from eqff.data.graph import edge_slots
from eqff.data.neighbours import neighbour_pairs
from eqff.interfaces import compiled_pairs
from eqff.interfaces.compiled_pairs import CompiledPairs, found_pairs
from eqff.interfaces.pairs import FoundPairs, slots

OPEN = np.zeros(3, bool), np.zeros((3, 3))
NAMES = ("sender", "receiver", "shift", "slots", "vectors", "lengths")


def compiled(found, cutoff):
    made = found_pairs(found, cutoff)
    if not isinstance(made, CompiledPairs):
        pytest.skip("there is no C++ compiler here")
    return made


@pytest.fixture(params=["plain", "compiled"])
def kind(request):
    return {"plain": FoundPairs, "compiled": compiled}[request.param]


def walk(seed, atoms, steps=6):
    """Positions of a random walk, atoms on top of each other among them."""
    rng = np.random.default_rng(seed)
    positions = rng.uniform(0, 4, (atoms, 3))
    for _ in range(steps):
        positions += 0.2 * rng.standard_normal(positions.shape)
        yield positions
        positions[-1] = positions[0]
    yield positions


def assert_equal(first, second):
    for name in NAMES:
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
        assert getattr(first, name).dtype == getattr(second, name).dtype


@pytest.mark.parametrize("cutoff", [0.5, 3.0, np.inf])
@pytest.mark.parametrize("atoms", [1, 2, 7])
def test_compiled_code_gives_what_numpy_gives(atoms, cutoff):
    found = neighbour_pairs(np.zeros((atoms, 3)), OPEN[1], OPEN[0], np.inf)
    plain, fast = FoundPairs(found, cutoff), compiled(found, cutoff)
    for positions in walk(atoms, atoms):
        assert_equal(fast(positions, None), plain(positions, None))


@pytest.mark.parametrize("pbc", [(True, True, True), (True, False, True), (False, False, True)])
def test_compiled_code_gives_what_numpy_gives_in_cells_that_change(pbc):
    rng, pbc = np.random.default_rng(sum(pbc)), np.array(pbc)
    cell = np.where(pbc[:, None], 4 * np.eye(3) + rng.uniform(-1, 1, (3, 3)), 0.0)
    positions = rng.uniform(0, 4, (9, 3))
    found = neighbour_pairs(positions, cell, pbc, 5.0)
    plain, fast = FoundPairs(found, 4.0), compiled(found, 4.0)
    for _ in range(5):
        first, second = fast(positions, cell), plain(positions, cell)
        assert_equal(first, second)
        # both directions of each pair, whatever its length is rounded to
        edges = {(i, j, *shift) for i, j, shift in zip(first.receiver, first.sender, first.shift.tolist(), strict=True)}
        assert edges == {(j, i, *(-s for s in shift)) for i, j, *shift in edges}
        cell = cell @ (np.eye(3) + 0.02 * rng.standard_normal((3, 3)))
        positions = positions + 0.05 * rng.standard_normal(positions.shape)


def test_arrays_in_another_order_or_precision_are_read_rightly(kind):
    found = neighbour_pairs(np.zeros((5, 3)), OPEN[1], OPEN[0], np.inf)
    positions, lists = np.random.default_rng(0).integers(0, 4, (5, 3)).astype(np.float32), kind(found, 2.5)
    expected = lists(positions.astype(np.float64), None)
    for other in (positions, np.asfortranarray(positions), np.repeat(positions, 2, axis=1)[:, ::2]):
        assert_equal(kind(found, 2.5)(other, None), expected)


@pytest.mark.parametrize("receiver", [[], [0, 0, 3], [1, 2, 2, 2]])
def test_the_table_of_neighbours(receiver):
    receiver = np.array(receiver, dtype=np.int64)
    np.testing.assert_array_equal(slots(receiver, 5), edge_slots(torch.from_numpy(receiver), 5).numpy())


def test_they_are_of_then_however_late_they_are_read(kind):
    found = neighbour_pairs(np.zeros((3, 3)), OPEN[1], OPEN[0], np.inf)
    positions = np.array([[0.0, 0, 0], [1, 0, 0], [0, 2, 0]])
    lists = kind(found, 1.5)
    first = lists(positions, None)
    positions[1] = [1.25, 0, 0]
    second = lists(positions, None)
    positions[:] = 9.0
    assert first.same_as(second)
    assert first.lengths.tolist() == [1.0, 1.0] and second.lengths.tolist() == [1.25, 1.25]
    assert first.vectors.tolist() == [[1, 0, 0], [-1, 0, 0]]


def test_other_pairs_are_not_the_same(kind):
    found = neighbour_pairs(np.zeros((3, 3)), OPEN[1], OPEN[0], np.inf)
    lists = kind(found, 1.5)
    first = lists(np.array([[0.0, 0, 0], [1, 0, 0], [0, 2, 0]]), None)
    second = lists(np.array([[0.0, 0, 0], [2, 0, 0], [0, 1, 0]]), None)
    assert len(first.sender) == len(second.sender) and not first.same_as(second)
    assert first.sender.tolist() == [1, 0]  # as they were
    assert not second.same_as(kind(found, 1.5)(np.array([[0.0, 0, 0], [2, 0, 0], [0, 1, 0]]), None))


def test_translations_follow_the_cell(kind):
    cell, pbc = np.diag([2.0, 9, 9]), np.array([True, False, False])
    found = neighbour_pairs(np.zeros((1, 3)), cell, pbc, 2.5)
    lists = kind(found, 2.2)
    assert lists(np.zeros((1, 3)), cell).lengths.tolist() == [2.0, 2.0]
    assert lists(np.zeros((1, 3)), 1.05 * cell).lengths.tolist() == [2.1, 2.1]
    assert len(lists(np.zeros((1, 3)), 1.2 * cell).lengths) == 0


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda lists: pickle.loads(pickle.dumps(lists))])
def test_a_copy_measures_by_itself(kind, again):
    positions = next(walk(3, 6)).copy()
    lists = kind(neighbour_pairs(positions, OPEN[1], OPEN[0], np.inf), 3.0)
    expected = lists(positions, None)
    other = again(lists)
    other(positions * 0.5, None)
    assert_equal(other(positions, None), expected)
    assert_equal(lists(positions, None), expected)


def test_without_a_compiler_numpy_measures(monkeypatch):
    monkeypatch.setattr(compiled_pairs, "_code", lambda: None)
    found = neighbour_pairs(np.zeros((3, 3)), OPEN[1], OPEN[0], np.inf)
    assert type(found_pairs(found, 1.5)) is FoundPairs
