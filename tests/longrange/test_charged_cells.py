"""Charged periodic structures: a background, a convention that is told once, or an error; open ones are never meant."""

import logging

import pytest
import torch

from eqff.errors import ConfigError, ModelError
from eqff.longrange.charged_cells import charged_cells
from eqff.testing.graphs import graph_of
from eqff.testing.structures import crystal, molecule, slab, wire


def graph(*structures):
    return graph_of(structures, {}, torch.float64)


@pytest.mark.parametrize("atoms", [crystal(1), slab(1), wire(1)], ids=["crystal", "slab", "wire"])
def test_refused(atoms):
    both, check = graph(molecule(1, total_charge=1), atoms), charged_cells("refuse")
    check.check(both, torch.tensor([1.0, 1e-6]))
    with pytest.raises(ModelError, match=r"Structure 1 .* net charge of -1 e; there are 1"):
        check.check(both, torch.tensor([1.0, -1.0]))


def test_conventions_are_told_once(caplog):
    check = charged_cells("background")
    with caplog.at_level(logging.WARNING):
        check.check(graph(crystal(1), molecule(1)), torch.tensor([1.0, 1.0]))
        assert not caplog.messages
        for _ in range(2):
            check.check(graph(crystal(1), slab(1)), torch.tensor([0.0, 0.5]))
    (message,) = caplog.messages
    assert "periodic in 2 direction(s) and has a charge of 0.5 e" in message


def test_unknown_ways():
    with pytest.raises(ConfigError, match="Did you mean 'refuse'"):
        charged_cells("refused")
