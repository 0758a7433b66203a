"""Triples of neighbours: every two edges of an atom once, in both ways of finding them."""

from collections import Counter
from itertools import combinations

import pytest
import torch

from eqff.kernels.capture import captured
from eqff.nn.triples import Triples, every_two_edges, every_two_places
from eqff.testing.graphs import graph_of
from eqff.testing.structures import one_of_each


def edges_within(cutoff):
    return graph_of(list(one_of_each().values()), {"local": cutoff}, torch.float64).local


def expected(edges, cutoff):
    near = (edges.lengths < cutoff).nonzero()[:, 0].tolist()
    receiver = edges.receiver.tolist()
    return Counter(
        (receiver[one], frozenset((one, two))) for one, two in combinations(near, 2) if receiver[one] == receiver[two]
    )


def found(triples, within):
    pairs = zip(triples.atom.tolist(), triples.first.tolist(), triples.second.tolist(), strict=True)
    return Counter((atom, frozenset((one, two))) for atom, one, two in pairs if {one, two} <= within)


@pytest.mark.parametrize("list_cutoff", [1.0, 1.6, 2.0, 2.7])
def test_every_two_edges_once(list_cutoff):
    """For lists of few and many, of even and odd numbers of places."""
    edges, cutoff = edges_within(list_cutoff), min(list_cutoff, 2.3)
    exact = every_two_edges(edges, cutoff)
    assert found(exact, set(range(len(edges.lengths)))) == expected(edges, cutoff)
    assert len(exact.atom) == expected(edges, cutoff).total()  # none is empty or twice
    padded = every_two_places(edges)
    within = set((edges.lengths < cutoff).nonzero()[:, 0].tolist())
    assert found(padded, within) == expected(edges, cutoff)


def test_captured_code_has_sizes_of_the_table():
    edges = edges_within(2.0)
    assert len(Triples.of(edges, 1.5).atom) == expected(edges, 1.5).total()
    with captured():
        assert len(Triples.of(edges, 1.5).atom) == len(every_two_places(edges).atom)
