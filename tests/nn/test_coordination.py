"""Coordination numbers: counted neighbours, smooth derivatives, and elements without a radius."""

import pytest
import torch
from ase.build import bulk, molecule

from eqff.errors import ModelError
from eqff.nn.coordination import coordination_numbers, eeq_electronegativity
from eqff.testing.graphs import graph_of


def counted(atoms, **settings):
    atoms.info.update(total_charge=0, multiplicity=1)
    graph = graph_of([atoms], {"x": 9.0}, torch.float64)
    return coordination_numbers(graph.edges["x"], graph.numbers, **settings)


def test_neighbours_are_counted():
    methane = counted(molecule("CH4"))
    torch.testing.assert_close(methane, torch.tensor([4.0] + [1.0] * 4, dtype=torch.float64), rtol=0, atol=0.05)


def test_it_levels_off():
    """Large caesium counts two shells of caesium chloride; that is cut down to eight, and chlorine's is kept."""
    salt = bulk("CsCl", "cesiumchloride", a=4.12)
    free, held = counted(salt, highest=None), counted(salt)
    assert float(free[0]) > 12 and float(held[0]) == pytest.approx(8, abs=1e-3)
    assert float(held[1]) == pytest.approx(float(free[1]), abs=0.5)


def test_electronegativity_of_a_lone_atom_has_a_derivative():
    coordination = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    chi = eeq_electronegativity(torch.ones(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64), coordination)
    (slope,) = torch.autograd.grad(chi, coordination)
    assert bool(torch.isfinite(slope)) and float(chi.detach()) == pytest.approx(1.0, abs=1e-7)


def test_elements_without_a_radius():
    with pytest.raises(ModelError, match="up to Z = 103"):
        coordination_numbers(None, torch.tensor([104]))
