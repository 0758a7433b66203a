"""Charge equilibration: both solvers, their second derivatives, and matrices without a minimum."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from eqff.errors import ConfigError, ModelError
from eqff.longrange.convergence import failure
from eqff.longrange.equilibration import equilibrate
from eqff.longrange.interaction import LatticeInteraction
from eqff.longrange.kernels import GaussianKernel, PointKernel
from eqff.testing.graphs import graph_of, on_each_other
from eqff.testing.structures import crystal, molecule, slab, wire

STRUCTURES = [molecule(1, 5), molecule(2, 6, total_charge=1), slab(3), crystal(4), molecule(5, 1, total_charge=1)]
INTERACTION = LatticeInteraction(GaussianKernel(), 5.0, 1e-8, include_self=True)


def batch(structures=STRUCTURES, seed=0):
    graph = graph_of(structures, INTERACTION.neighbour_lists, torch.float64)
    generator = torch.Generator().manual_seed(seed)
    draw = [torch.rand(graph.num_atoms, generator=generator, dtype=torch.float64) for _ in range(3)]
    return graph, (5 * draw[0], 2 + 3 * draw[1], 0.4 + 0.3 * draw[2])


@pytest.mark.parametrize("iterative", [False, True])
def test_it_is_the_minimum_at_the_right_total(iterative):
    graph, parameters = batch()
    found = equilibrate(graph, INTERACTION, *parameters, iterative=iterative, tolerance=1e-13)
    sums = torch.zeros(len(STRUCTURES), dtype=torch.float64).index_add(0, graph.batch, found.charges)
    torch.testing.assert_close(sums, graph.total_charge, rtol=0, atol=1e-12)
    chi, hardness, widths = parameters
    bound = INTERACTION.bind(graph, widths)
    potential = chi + hardness * found.charges + bound.potential(found.charges)
    for index in range(len(STRUCTURES)):
        equal = potential[graph.batch == index]
        torch.testing.assert_close(equal, equal.mean().expand_as(equal), rtol=0, atol=1e-9)


def test_a_batch_is_its_structures():
    graph, parameters = batch()
    together = equilibrate(graph, INTERACTION, *parameters).charges
    for index, structure in enumerate(STRUCTURES):
        chosen = graph.batch == index
        alone = graph_of([structure], INTERACTION.neighbour_lists, torch.float64)
        single = equilibrate(alone, INTERACTION, *(p[chosen] for p in parameters)).charges
        torch.testing.assert_close(together[chosen], single, rtol=1e-10, atol=1e-10)


def cubic():
    atoms = crystal(4, 3)
    atoms.set_cell(4.0 * np.eye(3), scale_atoms=True)
    return atoms


@pytest.mark.parametrize("structure", [wire(6, 3), cubic(), slab(3)], ids=["wire", "cubic", "slab"])
def test_both_solvers_agree_to_second_order_by_the_cell(structure):
    """Also where lattice vectors, or artificial ones, are equally long and at right angles."""
    graph, parameters = batch([structure])

    def run(iterative):
        cell = graph.cell.clone().requires_grad_()
        moved = replace(graph, cell=cell).deformed(graph.positions)
        found = equilibrate(moved, INTERACTION, *parameters, iterative=iterative, tolerance=1e-13)
        (first,) = torch.autograd.grad(found.energy.sum() + found.charges.square().sum(), cell, create_graph=True)
        return torch.autograd.grad(first.square().sum(), cell)[0]

    exact = run(False)
    torch.testing.assert_close(run(True), exact, rtol=0, atol=1e-9 * float(exact.abs().max()))


def test_both_solvers_agree_to_second_order():
    """Charges, and the gradient of a norm of forces: what training on forces needs."""

    def run(iterative):
        graph, parameters = batch()
        leaves = [graph.positions.clone().requires_grad_(), *(p.clone().requires_grad_() for p in parameters)]
        moved = graph.deformed(leaves[0])
        found = equilibrate(moved, INTERACTION, *leaves[1:], iterative=iterative, tolerance=1e-13)
        first = torch.autograd.grad(found.energy.sum() + found.charges.square().sum(), leaves, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), leaves)
        return [found.charges, *first, *second]

    for direct, iterated in zip(run(False), run(True), strict=True):
        torch.testing.assert_close(iterated, direct, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("iterative", [False, True])
def test_derivatives_against_differences(iterative):
    graph, parameters = batch([molecule(7, 4)])

    def charges(positions, chi, hardness, widths):
        moved = graph.deformed(positions)
        return equilibrate(moved, INTERACTION, chi, hardness, widths, iterative=iterative, tolerance=1e-14).charges

    inputs = [value.clone().requires_grad_() for value in (graph.positions, *parameters)]
    assert torch.autograd.gradcheck(charges, inputs)
    assert torch.autograd.gradgradcheck(charges, inputs, fast_mode=True)


@pytest.mark.parametrize("iterative", [False, True])
def test_without_a_minimum(iterative):
    """Point charges closer than their hardness allows run away to infinity."""
    interaction = LatticeInteraction(PointKernel(), 5.0)
    graph = graph_of([molecule(1, 6)], interaction.neighbour_lists, torch.float64)
    chi, hardness = torch.linspace(-3, 3, 6, dtype=torch.float64), torch.full((6,), 1.0, dtype=torch.float64)
    with pytest.raises(ModelError, match="structure 0 .* eigenvalue"):
        equilibrate(graph, interaction, chi, hardness, iterative=iterative)


def test_iterations_that_do_not_converge(caplog):
    graph, parameters = batch()
    settings = {"iterative": True, "max_iterations": 2}
    with pytest.raises(ModelError, match=r"after 2 iterations.*\(4 of 5 structures"):
        equilibrate(graph, INTERACTION, *parameters, **settings)
    failed, exact = failure("warn"), equilibrate(graph, INTERACTION, *parameters).charges
    for _ in range(3):
        found = equilibrate(graph, INTERACTION, *parameters, **settings, failed=failed)
    assert failed.count == 3 and len(caplog.messages) == 2  # the first and the second
    assert "Times so far: 2" in caplog.messages[1]
    assert 1e-4 < float((found.charges - exact).abs().max()) < 0.2  # what was reached
    assert float(found.convergence[0].residual.max()) > 1e-10


def test_iterations_begin_where_they_are_told():
    graph, parameters = batch()
    cold = equilibrate(graph, INTERACTION, *parameters, iterative=True, tolerance=1e-10)
    warm = equilibrate(graph, INTERACTION, *parameters, iterative=True, tolerance=1e-10, start=cold.charges)
    assert cold.convergence[0].iterations > 3 and warm.convergence[0].iterations <= 1
    assert cold.convergence[0].iterations == int(cold.convergence[0].each.max())
    torch.testing.assert_close(warm.charges, cold.charges, rtol=0, atol=1e-9)
    shifted = equilibrate(graph, INTERACTION, *parameters, iterative=True, tolerance=1e-10, start=cold.charges + 3.0)
    torch.testing.assert_close(shifted.charges, cold.charges, rtol=0, atol=1e-9)


def test_unknown_ways_to_fail():
    with pytest.raises(ConfigError, match="Did you mean 'warn'"):
        failure("warning")


def test_geometry_is_bound_once_for_all_solves(monkeypatch):
    """For the energy, for the iterations, and once in each derivative of the solution; never for a solve more."""
    graph, parameters = batch()
    positions, binds, bind = graph.positions.clone().requires_grad_(), [], LatticeInteraction.bind
    monkeypatch.setattr(LatticeInteraction, "bind", lambda *args: binds.append(1) or bind(*args))
    found = equilibrate(graph.deformed(positions), INTERACTION, *parameters, iterative=True)
    assert len(binds) == 2
    torch.autograd.grad(found.charges.square().sum(), positions)
    assert len(binds) == 3 and len(found.convergence) == 2


@pytest.mark.parametrize("iterative", [False, True])
def test_what_is_not_finite_never_counts_as_solved(iterative):
    graph, (chi, hardness, widths) = batch()
    chi = chi.clone()
    chi[7] = torch.nan  # an atom of the second structure
    with pytest.raises(ModelError, match="structure 1 .* right-hand side is nan at atom 7"):
        equilibrate(graph, INTERACTION, chi, hardness, widths, iterative=iterative)


@pytest.mark.parametrize("atoms", [molecule(1, 4), crystal(4)], ids=["open", "periodic"])
def test_atoms_on_each_other_are_named(atoms):
    graph, parameters = batch([atoms])
    with pytest.raises(ModelError, match="are 0 Å apart: their Coulomb interaction is not finite"):
        equilibrate(on_each_other(graph, 3, 1), INTERACTION, *parameters)
