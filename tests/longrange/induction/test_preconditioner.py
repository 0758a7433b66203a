"""The preconditioner: positive for any structure, and worth its cost."""

from __future__ import annotations

import pytest
import torch

from eqff.longrange.induction import mutual
from eqff.longrange.induction.catastrophe import CoupledPairs
from eqff.longrange.induction.modes import Mutual
from eqff.longrange.induction.mutual import InductionSolver, induced_damping
from eqff.longrange.induction.preconditioner import near_field
from eqff.longrange.multipoles.interaction import MultipoleInteraction
from eqff.testing.graphs import graph_of
from eqff.testing.structures import crystal, molecule
from eqff.units import COULOMB_CONSTANT

INTERACTION = MultipoleInteraction(cutoff=5.0, accuracy=1e-3)


def system(size: float, strength: float):
    graph = graph_of([molecule(1, 20), crystal(2, 6)], INTERACTION.neighbour_lists, torch.float64)
    alpha = size * torch.eye(3, dtype=torch.float64).repeat(graph.num_atoms, 1, 1)
    damping = induced_damping(alpha, strength)
    bound = INTERACTION.bind(graph, damping, rank=1)
    return graph, alpha, CoupledPairs(bound, alpha, damping)


@pytest.mark.parametrize("size", [0.3, 3.0])
def test_it_is_symmetric_and_positive_whatever_the_coupling(size):
    graph, alpha, pairs = system(size, 1.0)
    near = near_field(pairs)
    unit = torch.eye(3 * graph.num_atoms, dtype=torch.float64).reshape(-1, graph.num_atoms, 3)
    matrix = torch.stack([near(row).flatten() for row in unit]) * size / COULOMB_CONSTANT
    torch.testing.assert_close(matrix, matrix.T)
    eigenvalues = torch.linalg.eigvalsh(matrix)
    assert -1 < float(eigenvalues[0]) < -0.1 and 0.1 < float(eigenvalues[-1]) < 1
    if size > 1:  # without the bound it would not be
        assert float(pairs.largest_couplings().sum()) > graph.num_atoms


def test_it_saves_iterations(monkeypatch):
    graph, alpha, _ = system(0.5, 0.39)
    external = torch.randn(graph.num_atoms, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mode = Mutual(InductionSolver(1e-8, dense_up_to=0))
    with_it = mode.induce(graph, INTERACTION, external, alpha, 0.39)
    monkeypatch.setattr(mutual, "near_field", lambda pairs: None)
    without = mode.induce(graph, INTERACTION, external, alpha, 0.39)
    torch.testing.assert_close(with_it.dipoles, without.dipoles, rtol=1e-6, atol=1e-8)
    assert int(with_it.iterations.sum()) < int(without.iterations.sum())
