"""Induced dipoles: both solvers, derivatives to second order, fields, steps, and what has no solution."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from ase import Atoms

from eqff.derivatives import differentiate
from eqff.errors import ModelError
from eqff.longrange.induction.modes import Mutual, Steps
from eqff.longrange.induction.mutual import InductionSolver, field_of, induced_damping
from eqff.longrange.induction.polarizabilities import respond
from eqff.longrange.multipoles.damping import NoDamping
from eqff.longrange.multipoles.interaction import MultipoleInteraction
from eqff.nn.reduce import segment_sum
from eqff.testing.graphs import graph_of
from eqff.testing.structures import crystal, molecule, slab, wire
from eqff.units import COULOMB_CONSTANT

STRUCTURES = [molecule(1, 5), wire(2, 3), slab(3, 4), crystal(4, 4), molecule(5, 1, total_charge=1)]
INTERACTION = MultipoleInteraction(cutoff=5.0, accuracy=1e-8)
DENSE = Mutual(InductionSolver(dense_up_to=10**6))
ITERATIVE = Mutual(InductionSolver(tolerance=1e-13, dense_up_to=0))
BOTH = pytest.mark.parametrize("mode", [DENSE, ITERATIVE], ids=["dense", "iterative"])
STRENGTH = 0.39


@cache
def batch(count: int = len(STRUCTURES)):
    """Random fields and polarizability tensors; every fifth atom has none."""
    graph = graph_of(STRUCTURES[:count], INTERACTION.neighbour_lists, torch.float64)
    generator = torch.Generator().manual_seed(0)
    external = torch.randn(graph.num_atoms, 3, generator=generator, dtype=torch.float64)
    root = torch.randn(graph.num_atoms, 3, 3, generator=generator, dtype=torch.float64)
    alpha = 0.2 * torch.eye(3, dtype=torch.float64) + 0.1 * root @ root.transpose(1, 2)
    alpha[::5] = 0.0
    return graph, external, alpha


def moved(graph, positions):
    return graph.deformed(positions)


@BOTH
def test_dipoles_solve_their_equation(mode):
    graph, external, alpha = batch()
    found = mode.induce(graph, INTERACTION, external, alpha, STRENGTH)
    bound = INTERACTION.bind(graph, induced_damping(alpha, STRENGTH), rank=1)
    torch.testing.assert_close(found.dipoles, respond(alpha, external + field_of(bound, found.dipoles)))
    assert not found.dipoles[::5].any()
    energy = -0.5 * segment_sum((found.dipoles * external).sum(dim=1), graph.batch, graph.num_structures)
    torch.testing.assert_close(found.energy, energy, rtol=1e-10, atol=1e-12)


def test_both_solvers_agree_to_second_order():
    """Dipoles and energies, and the gradient of norms of their gradients: what training on forces needs."""

    def run(mode):
        graph, external, alpha = batch()
        leaves = [value.clone().requires_grad_() for value in (graph.positions, external, alpha)]
        found = mode.induce(moved(graph, leaves[0]), INTERACTION, leaves[1], leaves[2], STRENGTH)
        weights = torch.linspace(0, 1, found.dipoles.numel(), dtype=torch.float64).reshape(-1, 3)
        scalar = found.energy.sum() + (weights * found.dipoles).sum() + (weights * found.local_field).square().sum()
        first = torch.autograd.grad(scalar, leaves, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), leaves)
        return [found.dipoles, found.energy, *first, *second]

    for direct, iterated in zip(run(DENSE), run(ITERATIVE), strict=True):
        torch.testing.assert_close(iterated, direct, rtol=1e-8, atol=1e-8)


@BOTH
def test_derivatives_against_differences(mode):
    """By positions, field, polarizabilities and Thole's a."""
    graph = graph_of([molecule(1, 3)], INTERACTION.neighbour_lists, torch.float64)
    external, alpha = batch()[1][1:4], batch()[2][1:4]

    def outcome(positions, external, alpha, strength):
        symmetric = 0.5 * (alpha + alpha.transpose(1, 2))
        found = mode.induce(moved(graph, positions), INTERACTION, external, symmetric, strength)
        return torch.cat([found.energy, found.dipoles.flatten(), found.local_field.flatten()])

    # of two equal a the smaller one has no derivative
    strength = torch.tensor([0.3, 0.5, 0.4], dtype=torch.float64)
    inputs = [value.clone().requires_grad_() for value in (graph.positions, external, alpha, strength)]
    assert torch.autograd.gradcheck(outcome, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(outcome, inputs, fast_mode=True)


def test_derivative_by_a_polarizability_that_is_zero():
    """dU/dalpha = -e e / 2 k_e is there, not lost with the dipole."""
    graph, external, alpha = batch(1)
    leaf = alpha.clone().requires_grad_()
    found = DENSE.induce(graph, INTERACTION, external, leaf, STRENGTH)
    slope = torch.autograd.grad(found.energy.sum(), leaf)[0][0]
    local = found.local_field.detach()[0]
    torch.testing.assert_close(slope, -0.5 * local[:, None] * local / COULOMB_CONSTANT)


@BOTH
def test_an_interaction_that_is_given_is_the_one_that_is_made(mode):
    """Bound with more than dipoles need, as by a term that has quadrupoles."""
    graph, external, alpha = batch()
    bound = INTERACTION.bind(graph, induced_damping(alpha, STRENGTH), rank=2, field_rank=1)
    given = mode.induce(graph, INTERACTION, external, alpha, STRENGTH, bound=bound)
    made = mode.induce(graph, INTERACTION, external, alpha, STRENGTH)
    torch.testing.assert_close(given.energy, made.energy, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(given.dipoles, made.dipoles, rtol=1e-9, atol=1e-11)


def test_energy_by_the_field_is_minus_the_dipole():
    graph, _, alpha = batch()
    field = torch.randn(graph.num_structures, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    field.requires_grad_()
    found = DENSE.induce(graph, INTERACTION, field[graph.batch], alpha, STRENGTH)
    slope = torch.autograd.grad(found.energy.sum(), field)[0]
    torch.testing.assert_close(-slope, segment_sum(found.dipoles, graph.batch, graph.num_structures))


def test_forces_of_iterations_against_differences():
    """The solver at 1e-10, forces to 1e-6."""
    mode = Mutual(InductionSolver(tolerance=1e-10, dense_up_to=0))
    graph, external, alpha = batch()

    def energies(deformed):
        return mode.induce(deformed, INTERACTION, external, alpha, STRENGTH).energy, {}

    forces = differentiate(energies, graph)["forces"]
    generator, step = torch.Generator().manual_seed(2), 1e-3
    direction = torch.randn(graph.num_atoms, 3, generator=generator, dtype=torch.float64)
    weights = {-2: 1 / 12, -1: -2 / 3, 1: 2 / 3, 2: -1 / 12}
    slope = sum(w * energies(moved(graph, graph.positions + m * step * direction))[0] for m, w in weights.items())
    along = segment_sum((forces * direction).sum(dim=1), graph.batch, graph.num_structures)
    torch.testing.assert_close(along, -slope / step, rtol=1e-6, atol=1e-6 * float(forces.abs().max()))


@BOTH
def test_a_batch_is_its_structures(mode):
    graph, external, alpha = batch()
    together = mode.induce(graph, INTERACTION, external, alpha, STRENGTH)
    for index, structure in enumerate(STRUCTURES):
        chosen = graph.batch == index
        alone = graph_of([structure], INTERACTION.neighbour_lists, torch.float64)
        single = mode.induce(alone, INTERACTION, external[chosen], alpha[chosen], STRENGTH)
        torch.testing.assert_close(together.dipoles[chosen], single.dipoles, rtol=1e-9, atol=1e-10)
        torch.testing.assert_close(together.energy[index], single.energy[0], rtol=1e-10, atol=1e-10)
        assert int(together.iterations[index]) == int(single.iterations[0])


def test_the_graph_of_derivatives_does_not_grow_with_iterations():
    def nodes(tolerance):
        graph, external, alpha = batch()
        leaf = graph.positions.clone().requires_grad_()
        mode = Mutual(InductionSolver(tolerance=tolerance, dense_up_to=0))
        found = mode.induce(moved(graph, leaf), INTERACTION, external, alpha, STRENGTH)
        seen, todo = set(), [found.energy.grad_fn]
        while todo:
            node = todo.pop()
            if node is not None and node not in seen:
                seen.add(node)
                todo += [parent for parent, _ in node.next_functions]
        return int(found.iterations.max()), len(seen)

    (few, small), (many, large) = nodes(1e-2), nodes(1e-12)
    assert many > few + 3 and small == large


def test_iterations_begin_where_they_are_told():
    graph, external, alpha = batch()
    mode = Mutual(InductionSolver(tolerance=1e-9, dense_up_to=0))
    cold = mode.induce(graph, INTERACTION, external, alpha, STRENGTH)
    warm = mode.induce(graph, INTERACTION, external, alpha, STRENGTH, start=cold.local_field)
    assert int(cold.iterations.max()) > 3 and int(warm.iterations.max()) <= 1
    assert float(warm.residual.max()) <= 1e-9
    torch.testing.assert_close(warm.dipoles, cold.dipoles, rtol=1e-7, atol=1e-8)


def test_steps_lead_to_the_converged_dipoles():
    graph, external, alpha = batch()
    exact = DENSE.induce(graph, INTERACTION, external, alpha, STRENGTH)
    errors = []
    for count in (0, 1, 2, 4, 60):
        found = Steps(count).induce(graph, INTERACTION, external, alpha, STRENGTH)
        errors.append(float((found.dipoles - exact.dipoles).abs().max()))
    torch.testing.assert_close(
        Steps(0).induce(graph, INTERACTION, external, alpha, STRENGTH).dipoles, respond(alpha, external)
    )
    assert errors[0] > errors[2] > errors[3] > errors[4] and errors[4] < 1e-6 * errors[0]


def pair(distance: float) -> Atoms:
    atoms = Atoms("OH", [[0, 0, 0], [0, 0, distance]])
    atoms.info.update(total_charge=0, multiplicity=2)
    return atoms


@BOTH
def test_a_pair_without_stable_dipoles_is_named(mode):
    """Two atoms closer than (4 alpha_i alpha_j)^(1/6), hardly damped."""
    structures = [molecule(1, 5), pair(0.8)]
    graph = graph_of(structures, INTERACTION.neighbour_lists, torch.float64)
    alpha = torch.eye(3, dtype=torch.float64).repeat(graph.num_atoms, 1, 1) * 1e-3
    alpha[5:] *= 1e3
    external = torch.zeros(graph.num_atoms, 3, dtype=torch.float64)
    external[5, 0] = 1.0
    with pytest.raises(ModelError, match=r"structure 1 .* eigenvalue .* is -.* atoms 1 .* and 0 .* 0\.800 Å"):
        mode.induce(graph, INTERACTION, external, alpha, 100.0)


@BOTH
def test_every_such_structure_is_named_with_its_pair(mode):
    structures = [pair(0.8), molecule(1, 5), pair(0.9)]
    graph = graph_of(structures, INTERACTION.neighbour_lists, torch.float64)
    alpha = torch.eye(3, dtype=torch.float64).repeat(graph.num_atoms, 1, 1) * 1e-3
    alpha[[0, 1, 7, 8]] *= 1e3
    with pytest.raises(ModelError, match=r"structure 0 .* 0\.800 Å .* structure 2 .* 0\.900 Å .* Lower the polar"):
        mode.induce(graph, INTERACTION, torch.ones(graph.num_atoms, 3), alpha, 100.0)


@BOTH
def test_many_atoms_without_stable_dipoles_are_named(mode):
    """No two alone, but all together."""
    graph = graph_of([molecule(1, 1), crystal(4, 6)], INTERACTION.neighbour_lists, torch.float64)
    alpha = torch.eye(3, dtype=torch.float64).repeat(graph.num_atoms, 1, 1) * 4.0
    external = torch.randn(graph.num_atoms, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    with pytest.raises(ModelError, match="structure 1 .* catastrophe.* Most coupled"):
        mode.induce(graph, MultipoleInteraction(cutoff=5.0, accuracy=1e-2), external, alpha, 1.0)


def test_iterations_that_do_not_converge():
    graph, external, alpha = batch()
    with pytest.raises(ModelError, match="after 2 iterations"):
        Mutual(InductionSolver(1e-12, 2, 0)).induce(graph, INTERACTION, external, alpha, STRENGTH)


@BOTH
def test_what_is_not_finite_never_counts_as_solved(mode):
    graph, external, alpha = batch()
    external = external.clone()
    external[6, 1] = torch.nan  # an atom of the second structure
    with pytest.raises(ModelError, match="structure 1 .* right-hand side is nan at atom 6"):
        mode.induce(graph, INTERACTION, external, alpha, STRENGTH)


@pytest.mark.parametrize(
    "tensor",
    [
        [[1.0, 0, 0], [0, -0.1, 0], [0, 0, 1.0]],
        [[1.0, 0.2, 0], [0, 1.0, 0], [0, 0, 1.0]],
        [[1.0, 2.0, 0], [2.0, 1.0, 0], [0, 0, 1.0]],
        [[float("nan"), 0, 0], [0, 1.0, 0], [0, 0, 1.0]],
    ],
    ids=["negative", "not symmetric", "indefinite", "NaN"],
)
def test_tensors_that_are_no_polarizabilities(tensor):
    graph, external, alpha = batch()
    alpha = alpha.clone()
    alpha[7] = torch.tensor(tensor, dtype=torch.float64)
    with pytest.raises(ModelError, match=r"atom 7 of the batch \(structure 1\) is no symmetric positive"):
        DENSE.induce(graph, INTERACTION, external, alpha, STRENGTH)


def test_two_atoms_have_the_textbook_answer():
    """mu = alpha E / (1 - 2 alpha / r³) along the axis, without damping [Silberstein 1917]."""
    graph = graph_of([pair(3.0)], INTERACTION.neighbour_lists, torch.float64)
    alpha = torch.eye(3, dtype=torch.float64).repeat(2, 1, 1)
    external = torch.tensor([[1.0, 0.0, 1.0]], dtype=torch.float64).repeat(2, 1)
    found = DENSE.induce(graph, INTERACTION, external, alpha, 1e3)
    expected = respond(alpha, external / torch.tensor([1 + 1 / 27, 1.0, 1 - 2 / 27], dtype=torch.float64))
    torch.testing.assert_close(found.dipoles, expected)
    assert isinstance(INTERACTION.damping, NoDamping)


@BOTH
def test_tensors_that_are_flat_towards_each_other_are_stable(mode):
    """Their mean would be a catastrophe along the bond, where they answer nothing."""
    atoms = Atoms("H2", [(0, 0, 0), (0, 0, 1.5)])
    atoms.info.update(total_charge=0, multiplicity=1)
    graph = graph_of([atoms], INTERACTION.neighbour_lists, torch.float64)
    alpha = torch.diag(torch.tensor([3.0, 3.0, 0.01], dtype=torch.float64)).repeat(2, 1, 1)
    along = torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64).repeat(2, 1)
    found = mode.induce(graph, INTERACTION, along, alpha, 3.0)
    assert float(found.dipoles[0, 2] * COULOMB_CONSTANT) == pytest.approx(0.01, rel=0.01)
    with pytest.raises(ModelError, match="no minimum"):
        mode.induce(graph, INTERACTION, along, 2.0 * torch.eye(3, dtype=torch.float64).repeat(2, 1, 1), 3.0)


def test_steps_that_grow_are_told(caplog):
    graph, external, _ = batch(1)
    alpha = torch.eye(3, dtype=torch.float64).repeat(graph.num_atoms, 1, 1)
    Steps(4).induce(graph, INTERACTION, external, 0.2 * alpha, STRENGTH)
    assert not caplog.records
    Steps(20).induce(graph, INTERACTION, external, 20.0 * alpha, 3.0)
    assert "Induction in 20 steps: in structure 0 of the batch the last one changed dipoles by" in caplog.text
