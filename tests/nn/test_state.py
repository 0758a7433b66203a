"""Charge and spin as input: nothing for neutral singlets, and each state its own."""

import torch

from eqff.nn.state import ChargeSpinEmbedding

BATCH = torch.tensor([0, 0, 0, 1, 1, 2])


def embedded(charges, multiplicities, seed=0):
    torch.manual_seed(seed)
    module = ChargeSpinEmbedding(6).double()
    scalars = torch.randn(6, 6, dtype=torch.float64)
    totals = (torch.tensor(values, dtype=torch.float64) for values in (charges, multiplicities))
    return module(scalars, *totals, BATCH)


def test_neutral_singlets_are_exactly_zero():
    state = embedded([0, 0, 1], [1, 1, 2])
    assert torch.equal(state[:5], torch.zeros(5, 6, dtype=torch.float64))
    assert float(state[5].abs().max()) > 0


def test_every_state_is_told_apart():
    """Cation, anion, triplet and doublets of one structure, none of them the negative of another."""
    states = [(1, 2), (-1, 2), (0, 3), (1, 4), (2, 1)]
    found = [embedded([q, 0, 0], [m, 1, 1])[:3] for q, m in states]
    for i, first in enumerate(found):
        for second in found[:i]:
            assert float((first - second).abs().max()) > 1e-3 and float((first + second).abs().max()) > 1e-3
