"""Charge transfer along bonds: SQE's minimum, ACKS2's equations, QEq as their limit, and what is kept exactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from eqff.data.graph import LOCAL
from eqff.data.solves import SolveHistory
from eqff.errors import ModelError
from eqff.longrange.charge_transfer import equilibrate_by_transfer
from eqff.longrange.convergence import failure
from eqff.longrange.equilibration import equilibrate
from eqff.longrange.interaction import LatticeInteraction
from eqff.longrange.kernels import GaussianKernel, PointKernel
from eqff.testing.graphs import graph_of
from eqff.testing.structures import crystal, joined, molecule, slab

INTERACTION = LatticeInteraction(GaussianKernel(), 5.0, 1e-8, include_self=True)
LISTS = INTERACTION.neighbour_lists | {LOCAL: 3.0}
STRUCTURES = [molecule(1, 5), molecule(2, 6, total_charge=1), slab(3), crystal(4), molecule(5, 1, total_charge=1)]


def batch(structures):
    """Graph, (chi, J, w), and softness of bonds that ends smoothly at 3 Å."""
    graph = graph_of(structures, LISTS, torch.float64)
    generator = torch.Generator().manual_seed(0)
    chi, hardness, widths = torch.rand(3, graph.num_atoms, generator=generator, dtype=torch.float64)
    return graph, (5 * chi, 2 + 3 * hardness, 0.4 + 0.3 * widths), softness(graph)


def softness(graph):
    return 0.2 * (1 - graph.local.lengths / 3.0) ** 3


def transfer(graph, parameters, soft, interaction=INTERACTION, **settings):
    return equilibrate_by_transfer(graph, interaction, *parameters, graph.local, soft, **settings)


def matrix_of(graph, parameters):
    chi, hardness, widths = parameters
    return INTERACTION.bind(graph, widths).matrix()[0][0] + torch.diag(hardness)


def test_sqe_is_the_minimum_over_all_flows():
    graph, parameters, soft = batch([molecule(2, 6, total_charge=1)])
    found, matrix = transfer(graph, parameters, soft), matrix_of(graph, parameters)
    once = graph.local.sender < graph.local.receiver
    flow = torch.zeros(6, int(once.sum()), dtype=torch.float64)  # q = q0 + flow p
    columns = torch.arange(flow.shape[1])
    flow[graph.local.receiver[once], columns], flow[graph.local.sender[once], columns] = 1.0, -1.0
    start = torch.full((6,), 1 / 6, dtype=torch.float64)
    stiffness = flow.T @ matrix @ flow + torch.diag(1 / soft[once])
    p = torch.linalg.solve(stiffness, -flow.T @ (parameters[0] + matrix @ start))
    q = start + flow @ p
    torch.testing.assert_close(found.charges, q, rtol=0, atol=1e-12)
    energy = parameters[0] @ q + 0.5 * q @ matrix @ q + 0.5 * (p.square() / soft[once]).sum()
    assert float(found.energy) == pytest.approx(float(energy), abs=1e-11)


def test_acks2_fulfils_its_equations():
    """[(A + J) 1 1; 1 X 1; ...] with multipliers for both sums, as its paper writes them."""
    graph, parameters, soft = batch([molecule(2, 6, total_charge=1)])
    n, one, zero = 6, torch.ones(6, 1, dtype=torch.float64), torch.zeros(6, 1, dtype=torch.float64)
    kernel = torch.zeros(n, n, dtype=torch.float64)
    kernel[graph.local.receiver, graph.local.sender] = soft
    kernel = kernel - torch.diag(kernel.sum(dim=1))
    eye, corner = torch.eye(n, dtype=torch.float64), torch.zeros(2, 2, dtype=torch.float64)
    upper = torch.cat([matrix_of(graph, parameters), eye, one, zero], dim=1)
    middle = torch.cat([eye, kernel, zero, one], dim=1)
    lower = torch.cat([torch.cat([one, zero], dim=1).T, torch.cat([zero, one], dim=1).T, corner], dim=1)
    right = torch.cat([-parameters[0], torch.full((n,), 1 / 6), torch.tensor([1.0, 0.0])])
    solution = torch.linalg.solve(torch.cat([upper, middle, lower]), right)
    torch.testing.assert_close(transfer(graph, parameters, soft).charges, solution[:n], rtol=0, atol=1e-12)


def test_soft_bonds_are_charge_equilibration():
    graph, parameters, soft = batch([molecule(2, 6, total_charge=1)])
    soft = torch.full_like(soft, 1e7)
    expected = equilibrate(graph, INTERACTION, *parameters)
    found = transfer(graph, parameters, soft)
    torch.testing.assert_close(found.charges, expected.charges, rtol=0, atol=1e-6)
    torch.testing.assert_close(found.energy, expected.energy, rtol=0, atol=1e-5)


@pytest.mark.parametrize("iterative", [False, True])
def test_totals_hold_and_a_batch_is_its_structures(iterative):
    graph, parameters, soft = batch(STRUCTURES)
    together = transfer(graph, parameters, soft, iterative=iterative, tolerance=1e-14)
    sums = torch.zeros(len(STRUCTURES), dtype=torch.float64).index_add(0, graph.batch, together.charges)
    torch.testing.assert_close(sums, graph.total_charge, rtol=0, atol=1e-13)
    for index, structure in enumerate(STRUCTURES):
        chosen, alone = graph.batch == index, graph_of([structure], LISTS, torch.float64)
        single = transfer(alone, [p[chosen] for p in parameters], softness(alone))
        torch.testing.assert_close(together.charges[chosen], single.charges, rtol=0, atol=1e-12)
        torch.testing.assert_close(together.energy[index], single.energy[0], rtol=0, atol=1e-11)


def test_fragments_keep_their_charge():
    first, second = molecule(32, 4), molecule(33, 3)
    graph, parameters, soft = batch([joined(first, second, [9.0, 0.0, 0.0])])
    initial = torch.tensor([1.0, 0, 0, 0, -1, 0, 0], dtype=torch.float64)
    charges = transfer(graph, parameters, soft, initial=initial).charges
    assert float(charges[:4].sum()) == pytest.approx(1, abs=1e-13)
    assert float((charges - initial).abs().max()) > 1e-3


@pytest.mark.parametrize("iterative", [False, True])
def test_derivatives_against_differences(iterative):
    graph, parameters, _ = batch([molecule(7, 4)])
    method = {"iterative": iterative, "tolerance": 1e-14}

    def found(positions, chi, hardness, widths, initial):
        moved = graph.deformed(positions)
        result = transfer(moved, (chi, hardness, widths), softness(moved), initial=initial, **method)
        return result.charges, result.energy

    initial = torch.tensor([0.2, -0.1, 0.3, 0.1], dtype=torch.float64)
    inputs = [value.clone().requires_grad_() for value in (graph.positions, *parameters, initial)]
    assert torch.autograd.gradcheck(found, inputs)
    assert torch.autograd.gradgradcheck(found, inputs, fast_mode=True)


def test_both_solvers_agree_to_second_order():
    """Charges, and the gradient of a norm of forces: what training on forces needs."""

    def run(iterative):
        graph, parameters, _ = batch(STRUCTURES)
        leaves = [graph.positions.clone().requires_grad_(), *(p.clone().requires_grad_() for p in parameters)]
        moved = graph.deformed(leaves[0])
        found = transfer(moved, leaves[1:], softness(moved), iterative=iterative, tolerance=1e-13)
        first = torch.autograd.grad(found.energy.sum() + found.charges.square().sum(), leaves, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), leaves)
        return [found.charges, *first, *second]

    for direct, iterated in zip(run(False), run(True), strict=True):
        torch.testing.assert_close(iterated, direct, rtol=1e-8, atol=1e-8)


def test_iterations_tell_how_they_went():
    graph, parameters, soft = batch(STRUCTURES)
    (told,) = transfer(graph, parameters, soft, iterative=True, tolerance=1e-6).convergence
    assert 2 < told.iterations < 60 and float(told.residual.max()) < 1e-6
    with pytest.raises(ModelError, match="after 2 iterations"):
        transfer(graph, parameters, soft, iterative=True, max_iterations=2)
    failed = failure("warn")
    found = transfer(graph, parameters, soft, iterative=True, max_iterations=2, failed=failed)
    assert failed.count == 1 and bool(found.charges.isfinite().all())


@pytest.mark.parametrize("iterative", [False, True])
def test_without_a_minimum(iterative):
    interaction = LatticeInteraction(PointKernel(), 5.0)
    graph = graph_of([molecule(1, 6)], interaction.neighbour_lists | {LOCAL: 3.0}, torch.float64)
    chi, hardness = torch.linspace(-3, 3, 6, dtype=torch.float64), torch.full((6,), 1.0, dtype=torch.float64)
    with pytest.raises(ModelError, match="structure 0 .* eigenvalue"):
        transfer(graph, (chi, hardness, None), 10 * softness(graph), interaction, iterative=iterative)
    stiff = transfer(graph, (chi, hardness, None), 0.01 * softness(graph), interaction, iterative=iterative)
    assert bool(torch.isfinite(stiff.charges).all())


@pytest.mark.parametrize("scheme", ["transfer", "equilibrate"])
def test_a_field_polarises(scheme):
    """The energy's derivative by the field is minus the dipole, and a lattice refuses fields."""
    graph, parameters, soft = batch([molecule(1, 5), molecule(2, 6, total_charge=1)])

    def solve(graph, parameters, soft, field):
        if scheme == "transfer":
            return transfer(graph, parameters, soft, field=field)
        return equilibrate(graph, INTERACTION, *parameters, field=field)

    field = torch.tensor([[0.1, -0.2, 0.3], [0.0, 0.2, 0.1]], dtype=torch.float64, requires_grad=True)
    found = solve(graph, parameters, soft, field)
    (slope,) = torch.autograd.grad(found.energy.sum(), field)
    moments = torch.zeros(2, 3, dtype=torch.float64).index_add(0, graph.batch, found.charges[:, None] * graph.positions)
    torch.testing.assert_close(slope, -moments.detach(), rtol=0, atol=1e-10)
    with pytest.raises(ModelError, match="Structure 0 of the batch is periodic"):
        solve(*batch([crystal(4)]), field[:1])
    stated = replace(graph, electric_field=field.detach())  # as data state it
    torch.testing.assert_close(solve(stated, parameters, soft, None).charges, found.charges, rtol=0, atol=1e-14)


@pytest.mark.parametrize("scheme", ["transfer", "equilibrate"])
def test_a_field_beside_periodic_structures_without_one(scheme):
    graph, parameters, soft = batch([crystal(4), molecule(1, 5)])
    field = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.2, 0.1]], dtype=torch.float64)
    run = transfer if scheme == "transfer" else lambda g, p, soft, **more: equilibrate(g, INTERACTION, *p, **more)
    without, inside = (run(graph, parameters, soft, field=f).charges for f in (None, field))
    torch.testing.assert_close(inside[graph.batch == 0], without[graph.batch == 0], rtol=0, atol=1e-14)
    assert float((inside - without).abs().max()) > 1e-3


def test_what_a_start_has_beside_flows_is_not_kept():
    """A constant on connected atoms flows nowhere, so no iteration corrects it: predictions would make it grow."""
    graph, parameters, soft = batch([molecule(2, 6, total_charge=1)])
    history, kept = SolveHistory("last"), []
    for step in range(3):
        history.begin(graph.positions.numpy() + 0.01 * step, np.zeros((3, 3)), "k")
        moved = replace(graph, solves=history)
        charges = transfer(moved, parameters, soft, iterative=True, tolerance=1e-10).charges
        ((place, solution),) = history._now.found.items()
        kept.append(solution)
        history._now.found[place] = solution + 1e3
    potential = parameters[0] + matrix_of(graph, parameters) @ charges
    torch.testing.assert_close(kept[-1], -potential, rtol=0, atol=1e-8)
    torch.testing.assert_close(kept[-1], kept[0], rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    ("broken", "iterative", "message"),
    [
        ("chi", False, "right-hand side is nan at atom"),
        ("chi", True, "right-hand side is nan at atom"),
        ("hardness", False, "its matrix is not finite"),
        ("softness", False, "right-hand side is nan at atom"),
    ],
)
def test_what_is_not_finite_never_counts_as_solved(broken, iterative, message):
    graph, parameters, soft = batch(STRUCTURES)
    values = dict(zip(("chi", "hardness", "softness"), (*parameters[:2], soft), strict=True))
    place = 7 if broken != "softness" else int((graph.batch[graph.local.receiver] == 1).nonzero()[0])
    values[broken][place] = torch.nan  # of the second structure
    with pytest.raises(ModelError, match=f"structure 1 of the batch .*{message}"):
        transfer(graph, parameters, soft, iterative=iterative)
