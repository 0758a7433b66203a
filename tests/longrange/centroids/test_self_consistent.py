"""Centroids in the field of each other: the equation, the minimum, derivatives to second order, and what has none."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.optimize
import scipy.special
import torch

from eqff.data.solves import SolveHistory
from eqff.errors import ModelError
from eqff.longrange.centroids.energy import CentroidEnergy
from eqff.longrange.centroids.fields import CentroidFields
from eqff.longrange.centroids.self_consistent import CentroidSolver, SelfConsistentCentroids
from eqff.longrange.convergence import WarnAndCount
from eqff.longrange.gaussian_sites import GaussianSites
from eqff.longrange.induction.polarizabilities import respond
from eqff.testing.graphs import graph_of
from eqff.testing.structures import crystal, molecule, slab, wire
from eqff.units import COULOMB_CONSTANT

STRUCTURES = [molecule(1, 5), wire(2, 3), slab(3, 4), crystal(4, 4), molecule(5, 1)]
WIDTH = 0.9
EXACT = CentroidSolver(tolerance=1e-12)


def system(structures=STRUCTURES, solver=EXACT, history=None):
    """Every second atom has a centroid; one of them does not respond."""
    graph = graph_of(structures, {}, torch.float64)
    if history is not None:
        graph = replace(graph, solves=history)
    generator = torch.Generator().manual_seed(0)
    count = graph.num_atoms
    ions = torch.linspace(0.5, 1.5, count, dtype=torch.float64)
    electrons = torch.where(torch.arange(count) % 2 == 0, -1.8, 0.0).double()
    start = 0.1 * torch.randn(count, 3, generator=generator, dtype=torch.float64) * (electrons != 0)[:, None]
    root = torch.randn(count, 3, 3, generator=generator, dtype=torch.float64)
    alpha = 0.2 * torch.eye(3, dtype=torch.float64) + 0.05 * root @ root.transpose(1, 2)
    alpha[2] = 0.0
    outside = torch.randn(len(structures), 3, generator=generator, dtype=torch.float64)
    energy = CentroidEnergy.of(GaussianSites(WIDTH, 1e-8), graph, ions, electrons)
    problem = SelfConsistentCentroids(graph, CentroidFields.of(energy, electrons), solver)
    return problem, (alpha, start, graph.positions, graph.cell, outside), (ions, electrons)


def test_centroids_follow_the_field_that_they_make():
    problem, tensors, (_, electrons) = system()
    alpha, start, positions, cell, outside = tensors
    local = problem.effective_field(*tensors)
    displacements = problem.displacements(local, alpha, start)
    torch.testing.assert_close(
        local, problem.fields.at(displacements, positions, cell, outside), rtol=1e-10, atol=1e-10
    )
    moved = respond(alpha, local) / electrons[:, None]
    torch.testing.assert_close(displacements[::2], (start + moved)[::2])
    assert not local[1::2].any() and torch.equal(displacements[2], start[2])
    (told,) = problem.convergence
    assert float(told.residual.max()) <= 1e-12 and 1 <= told.iterations <= 6


def test_the_energy_is_the_least_of_a_plain_sum():
    """A molecule's pairs in loops, and SciPy's minimum over displacements, which knows no field."""
    problem, tensors, (ions, electrons) = system(STRUCTURES[:1])
    alpha, start, positions, _, outside = (value.numpy() for value in tensors)
    alpha = alpha + 0.1 * np.eye(3)  # the formula below needs an inverse
    holders = np.flatnonzero(electrons.numpy())

    def energy(flat):
        moved = flat.reshape(-1, 3)
        away = moved - start[holders]
        stiff = np.linalg.inv(alpha[holders])
        charges = np.concatenate([ions.numpy(), electrons.numpy()[holders]])
        places = np.concatenate([positions, positions[holders] + moved])
        total = -(charges * (places @ outside[0])).sum()
        own = ions.numpy()[holders] * electrons.numpy()[holders]  # of ions with centroids on them
        total -= COULOMB_CONSTANT * own.sum() * 2 / math.sqrt(2 * math.pi) / WIDTH
        total += 0.5 * COULOMB_CONSTANT * 1.8**2 * np.einsum("na,nab,nb->", away, stiff, away)
        for i in range(len(charges)):
            for j in range(i):
                r = np.linalg.norm(places[i] - places[j])
                kernel = scipy.special.erf(r / (math.sqrt(2) * WIDTH)) / r if r else 2 / math.sqrt(2 * math.pi) / WIDTH
                total += COULOMB_CONSTANT * charges[i] * charges[j] * kernel
        return total

    least = scipy.optimize.minimize(energy, start[holders].flatten(), method="BFGS", options={"gtol": 1e-5})
    stiffer = (torch.as_tensor(alpha), *tensors[1:])
    local = problem.effective_field(*stiffer)
    found = problem.energy_at(local, tensors[4], *stiffer[:4])
    # where BFGS ends, as differences of the energy over 1e-8 Å no longer tell
    assert float(found) == pytest.approx(least.fun, abs=1e-6) and float(found) < least.fun + 1e-9
    displacements = problem.displacements(local, *stiffer[:2])[holders]
    np.testing.assert_allclose(displacements.numpy().flatten(), least.x, atol=1e-4)


def leaves(tensors):
    return [value.clone().requires_grad_() for value in tensors]


@pytest.mark.parametrize("structures", [[molecule(1, 3)], [crystal(4, 3)]], ids=["open", "periodic"])
def test_derivatives_against_differences(structures):
    """Of displacements and energy, by polarizabilities, undisturbed places, positions, cell and field."""
    problem, tensors, _ = system(structures)

    def found(*tensors):
        symmetric = 0.5 * (tensors[0] + tensors[0].transpose(1, 2))
        local = problem.effective_field(symmetric, *tensors[1:])
        energy = problem.energy_at(local, tensors[4], symmetric, *tensors[1:4])
        return problem.displacements(local, symmetric, tensors[1]), energy

    inputs = leaves(tensors)
    assert torch.autograd.gradcheck(found, inputs, fast_mode=True, atol=1e-5, rtol=1e-4)
    assert torch.autograd.gradgradcheck(found, inputs, fast_mode=True, atol=1e-4, rtol=1e-3)


def test_the_energy_has_its_first_derivative_without_a_solve():
    problem, tensors, _ = system()
    inputs = leaves(tensors)
    energy = problem.energy_at(problem.effective_field(*inputs), inputs[4], *inputs[:4])
    calls = []
    object.__setattr__(problem, "linearised", lambda *arguments: calls.append(arguments))
    torch.autograd.grad(energy.sum(), inputs)
    assert not calls


def test_without_convergence():
    with pytest.raises(ModelError, match="1 steps of Newton's method left a residual of .*Raise max_iterations"):
        problem, tensors, _ = system(solver=CentroidSolver(1e-12, 1))
        problem.effective_field(*tensors)
    told = WarnAndCount()
    problem, tensors, _ = system(solver=CentroidSolver(1e-12, 1, told))
    assert bool(problem.effective_field(*tensors).isfinite().all()) and told.count == 1


def test_polarizabilities_without_a_minimum_are_refused():
    problem, tensors, _ = system()
    with pytest.raises(ModelError, match="Wannier centroids of structure .* has no minimum: .*Lower the polariz"):
        problem.effective_field(60 * tensors[0], *tensors[1:])


def test_a_step_of_a_trajectory_begins_at_the_last():
    history = SolveHistory("last")
    iterations = []
    for _ in range(2):
        problem, tensors, _ = system(STRUCTURES[:1], history=history)
        history.begin(tensors[2].numpy() + 1e-9 * len(iterations), np.zeros((3, 3)), None)
        problem.effective_field(*tensors)
        iterations.append(problem.convergence[0].iterations)
    assert iterations[0] > 0 and iterations[1] == 0
