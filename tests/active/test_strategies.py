"""Choices: what is uncertain, what is unlike, what is known already, and which clusters are bad."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqff.active.candidates import Candidates
from eqff.active.strategies import STRATEGIES, quotas
from eqff.errors import ConfigError

RNG = np.random.default_rng(0)
POINTS = RNG.normal(size=(30, 3))
NOTHING = np.zeros((0, 3))


def candidates(points=POINTS, known=NOTHING, **more):
    more.setdefault("uncertainty", 0.1 + np.abs(points[:, 0]))
    return Candidates(points, known, **more)


def choose(name, found, count):
    return STRATEGIES[name](found, count, np.random.default_rng(0))


@given(st.sampled_from(sorted(set(STRATEGIES) - {"worst_clusters"})), st.integers(1, 40))
def test_as_many_as_asked_for_each_once(name, count):
    chosen = choose(name, candidates(), count)
    assert len(chosen) == len(set(chosen)) == min(count, 30)


def test_uncertain_takes_the_largest():
    doubts = RNG.random(30)
    chosen = choose("uncertain", candidates(uncertainty=doubts), 7)
    np.testing.assert_array_equal(np.sort(doubts[chosen])[::-1], np.sort(doubts)[::-1][:7])


@pytest.mark.parametrize("name", ["diverse", "uncertain_diverse"])
def test_no_two_of_a_kind_before_all_kinds(name):
    kinds = np.repeat(10.0 * np.eye(3), 10, axis=0)
    points = kinds + 0.01 * RNG.normal(size=kinds.shape)
    chosen = choose(name, candidates(points, uncertainty=1 + RNG.random(30)), 3)
    assert {index // 10 for index in chosen} == {0, 1, 2}


def test_diverse_keeps_away_from_what_is_known():
    points = np.array([[0.0], [0.1], [5.0], [9.9]])
    assert choose("diverse", candidates(points, np.array([[0.0], [10.0]])), 1) == [2]


def test_among_equally_unlike_ones_the_uncertain_is_taken():
    points, doubts = np.eye(4), np.array([1.0, 3.0, 2.0, 1.5])
    assert choose("uncertain_diverse", candidates(points, np.zeros((1, 4)), uncertainty=doubts), 2) == [1, 2]


def test_batches_are_greedy():
    whole = choose("uncertain_diverse", candidates(), 12)
    first, rest = whole[:5], [i for i in range(30) if i not in whole[:5]]
    left = candidates(POINTS[rest], POINTS[first])
    assert [rest[i] for i in choose("uncertain_diverse", left, 7)] == whole[5:]


@pytest.mark.parametrize("name", ["uncertain", "uncertain_diverse"])
def test_uncertainty_must_be_known(name):
    with pytest.raises(ConfigError, match="needs a model that knows how uncertain it is"):
        choose(name, candidates(uncertainty=None), 3)


def test_worst_clusters_are_filled_by_their_errors():
    cluster = np.repeat([0, 1, 2], 10)
    found = candidates(cluster=cluster, cluster_error=np.array([6.0, 0.0, 3.0]))
    assert np.bincount(cluster[choose("worst_clusters", found, 9)], minlength=3).tolist() == [6, 0, 3]
    # what the worst has not, the others give
    assert np.bincount(cluster[choose("worst_clusters", found, 18)], minlength=3).tolist() == [10, 0, 8]
    with pytest.raises(ConfigError, match="needs a labelled set"):
        choose("worst_clusters", candidates(), 3)


@given(
    st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 20)), min_size=1, max_size=6),
    st.integers(1, 60),
)
def test_quotas_never_exceed_what_is_there(clusters, count):
    errors, present = (np.array(column) for column in zip(*clusters, strict=True))
    taken = quotas(errors, present, count)
    assert (taken <= present).all() and taken.sum() == min(count, present.sum())
