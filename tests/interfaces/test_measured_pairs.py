"""Pairs of a list in one geometry after the other, whichever way they are measured."""

import numpy as np
import pytest

from eqff.data.neighbours import neighbour_pairs
from eqff.interfaces.pairs import AllPairs, FoundPairs

OPEN = np.zeros(3, bool), np.zeros((3, 3))


def walk(seed, atoms, steps=6):
    """Positions of a random walk, atoms on top of each other among them."""
    rng = np.random.default_rng(seed)
    positions = rng.uniform(0, 4, (atoms, 3))
    for _ in range(steps):
        positions += 0.2 * rng.standard_normal(positions.shape)
        yield positions
        positions[-1] = positions[0]
    yield positions


@pytest.mark.parametrize("cutoff", [0.5, 3.0, np.inf])
@pytest.mark.parametrize("atoms", [1, 2, 7])
def test_pairs_measured_once_are_those_measured_twice(atoms, cutoff):
    found = neighbour_pairs(np.zeros((atoms, 3)), OPEN[1], OPEN[0], np.inf)
    once, twice = AllPairs(found, cutoff), FoundPairs(found, cutoff)
    for positions in walk(atoms, atoms):
        first, second = once(positions, None), twice(positions, None)
        for name in ("sender", "receiver", "shift", "vectors", "lengths"):
            np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
            assert getattr(first, name).dtype == getattr(second, name).dtype
        assert not np.signbit(first.vectors[first.lengths == 0]).any()


def test_they_are_of_then_however_late_they_are_read():
    found = neighbour_pairs(np.zeros((3, 3)), OPEN[1], OPEN[0], np.inf)
    positions = np.array([[0.0, 0, 0], [1, 0, 0], [0, 2, 0]])
    lists = AllPairs(found, 1.5)
    first = lists(positions, None)
    positions[1] = [1.25, 0, 0]
    second = lists(positions, None)
    positions[:] = 9.0
    assert first.same_as(second)
    assert first.lengths.tolist() == [1.0, 1.0] and second.lengths.tolist() == [1.25, 1.25]
    assert first.vectors.tolist() == [[1, 0, 0], [-1, 0, 0]]


def test_other_pairs_are_not_the_same():
    found = neighbour_pairs(np.zeros((3, 3)), OPEN[1], OPEN[0], np.inf)
    lists = FoundPairs(found, 1.5)
    first = lists(np.array([[0.0, 0, 0], [1, 0, 0], [0, 2, 0]]), None)
    second = lists(np.array([[0.0, 0, 0], [2, 0, 0], [0, 1, 0]]), None)
    assert len(first.sender) == len(second.sender) and not first.same_as(second)
    assert not second.same_as(FoundPairs(found, 1.5)(np.array([[0.0, 0, 0], [2, 0, 0], [0, 1, 0]]), None))


def test_translations_follow_the_cell():
    cell, pbc = np.diag([2.0, 9, 9]), np.array([True, False, False])
    found = neighbour_pairs(np.zeros((1, 3)), cell, pbc, 2.5)
    lists = FoundPairs(found, 2.2)
    assert lists(np.zeros((1, 3)), cell).lengths.tolist() == [2.0, 2.0]
    assert lists(np.zeros((1, 3)), 1.05 * cell).lengths.tolist() == [2.1, 2.1]
    assert len(lists(np.zeros((1, 3)), 1.2 * cell).lengths) == 0
