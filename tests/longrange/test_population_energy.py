"""Energies of populations and their minima: plain loops, another minimiser, charge equilibration, differences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.optimize
import torch

from eqff.errors import ConfigError, ModelError
from eqff.longrange.convergence import failure, refuse
from eqff.longrange.equilibration import equilibrate
from eqff.longrange.interaction import LatticeInteraction
from eqff.longrange.kernels import GaussianKernel
from eqff.longrange.populations.energy import NeighbourSums, PopulationEnergy
from eqff.longrange.populations.minimum import minimize_populations
from eqff.longrange.populations.newton import Newton
from eqff.longrange.populations.steps import DenseSteps
from eqff.longrange.populations.totals import Totals
from eqff.nn.site_energies import Convex, General, SiteEnergies, activation, without_spin_sign
from eqff.testing.graphs import graph_of
from eqff.testing.structures import crystal, molecule, slab
from eqff.units import COULOMB_CONSTANT

STRUCTURES = [molecule(1, 5), molecule(2, 6, total_charge=1), slab(3, 4), crystal(4, 4), molecule(5, 1, total_charge=1)]
INTERACTION = LatticeInteraction(GaussianKernel(), 5.0, 1e-8, include_self=True)
NEAR = 3.0
UNITS = 5


def draw(graph, kinds, seed=0):
    """Parameters of an energy: chi, hardness, widths, amplitudes, offsets, directions."""
    rng = torch.Generator().manual_seed(seed)
    n, options = graph.num_atoms, {"generator": rng, "dtype": torch.float64}
    hardness = torch.cat([2 + 3 * torch.rand(n, 1, **options), 0.5 + torch.rand(n, kinds - 1, **options)], dim=1)
    return [
        5 * torch.rand(n, **options),
        hardness,
        0.4 + 0.3 * torch.rand(n, **options),
        2 * torch.rand(n, UNITS, **options),
        torch.randn(n, UNITS, **options),
        torch.randn(UNITS, kinds, 3, **options),
    ]


def smooth(lengths):
    """Two functions that end at `NEAR`."""
    x = (lengths / NEAR).clamp(max=1.0)
    return torch.stack([(1 - x) ** 3, x * (1 - x) ** 3], dim=1)


def energy_of(graph, chi, hardness, widths, amplitudes, offsets, directions, kind=None):
    site = SiteEnergies(kind or Convex(), amplitudes, offsets, directions)
    near = graph.edges["local"]
    return PopulationEnergy(
        chi,
        hardness,
        site if hardness.shape[1] == 1 else without_spin_sign(site),
        NeighbourSums(near.sender, near.receiver, smooth(near.lengths)),
        INTERACTION.bind(graph, widths),
    )


def totals_of(graph, kinds):
    values = torch.stack([graph.total_charge, graph.multiplicity - 1], dim=1)[:, :kinds]
    free = torch.stack([torch.ones(graph.num_structures, dtype=torch.bool), graph.multiplicity > 1], dim=1)[:, :kinds]
    return Totals(values, free, graph.batch)


def lists(structures):
    return graph_of(structures, {**INTERACTION.neighbour_lists, "local": NEAR}, torch.float64)


def solved(graph, energy, kinds, iterative=False, newton=None, failed=refuse):
    newton = newton or Newton(1e-11, 50, failed)
    options = {"iterative": iterative, "tolerance": 1e-13, "max_iterations": 300, "failed": failed}
    return minimize_populations(energy, totals_of(graph, kinds), newton, **options)


def loops(atoms, parameters, kinds):
    """The energy of one open structure, written out: a function of populations as rows of an array (n, kinds)."""
    chi, hardness, widths, amplitudes, offsets, directions = (p.numpy() for p in parameters)
    distances, n = atoms.get_all_distances(), len(atoms)

    def soft(x):
        return np.logaddexp(0.0, x)

    def energy(x):
        total = 0.0
        for i in range(n):
            total += chi[i] * x[i, 0] + 0.5 * sum(hardness[i, c] * x[i, c] ** 2 for c in range(kinds))
            total += 0.5 * COULOMB_CONSTANT * x[i, 0] ** 2 * 2 / (np.sqrt(2 * np.pi) * widths[i])
            for j in range(i):
                erf = torch.erf(torch.tensor(distances[i, j] / np.hypot(widths[i], widths[j]))).item()
                total += COULOMB_CONSTANT * x[i, 0] * x[j, 0] * erf / distances[i, j]
            around = [j for j in range(n) if j != i and distances[i, j] < NEAR]
            t = {j: distances[i, j] / NEAR for j in around}
            sums = [
                [
                    x[i, c],
                    sum((1 - t[j]) ** 3 * x[j, c] for j in around),
                    sum(t[j] * (1 - t[j]) ** 3 * x[j, c] for j in around),
                ]
                for c in range(kinds)
            ]
            for k in range(UNITS):
                signs = (1, -1) if kinds == 2 else (1,)
                for sign in signs:
                    inside = offsets[i, k] + sum(directions[k, 0, m] * sums[0][m] for m in range(3))
                    if kinds == 2:
                        inside += sign * sum(directions[k, 1, m] * sums[1][m] for m in range(3))
                    total += amplitudes[i, k] / len(signs) * (soft(inside) - soft(offsets[i, k]))
        return total

    return energy


@pytest.mark.parametrize("kinds", [1, 2])
def test_the_energy_is_what_it_says(kinds):
    atoms = molecule(1, 4)
    graph = lists([atoms])
    parameters = draw(graph, kinds)
    x = torch.randn(4, kinds, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = loops(atoms, parameters, kinds)(x.numpy())
    found = energy_of(graph, *parameters).value(x)
    torch.testing.assert_close(found, torch.tensor([expected], dtype=torch.float64), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", [Convex(), General()], ids=["convex", "general"])
def test_derivatives_by_populations(kind):
    """Slope, product and matrix against automatic differentiation of the value, in every periodicity."""
    graph = lists(STRUCTURES)
    energy = energy_of(graph, *draw(graph, 2), kind=kind)
    x = torch.randn(graph.num_atoms, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    slope, whole = (
        torch.func.grad(lambda x: energy.value(x).sum())(x),
        torch.func.hessian(lambda x: energy.value(x).sum())(x),
    )
    torch.testing.assert_close(energy.slope(x), slope, rtol=1e-10, atol=1e-10)
    other = torch.randn_like(x)
    expected = torch.einsum("icjd,jd->ic", whole, other)
    torch.testing.assert_close(energy.product(x)(other), expected, rtol=1e-9, atol=1e-9)
    matrix = DenseSteps(energy, totals_of(graph, 2)).matrix(x)
    for index in range(len(STRUCTURES)):
        inside = (graph.batch == index).nonzero()[:, 0]
        block = whole[inside][:, :, inside].flatten(2).flatten(0, 1)
        size = len(block)
        torch.testing.assert_close(matrix[index, :size, :size], block, rtol=1e-9, atol=1e-9)
        assert not bool(matrix[index, size:].any())


@pytest.mark.parametrize("kinds", [1, 2])
def test_another_minimiser_finds_the_same(kinds):
    """Sequential quadratic programming on the energy that is written out."""
    atoms = molecule(2, 4, total_charge=1, excited=kinds == 2)
    graph = lists([atoms])
    parameters = draw(graph, kinds)
    energy = loops(atoms, parameters, kinds)
    goals = [1.0, atoms.info["multiplicity"] - 1.0][:kinds]
    constraints = [
        {"type": "eq", "fun": lambda flat, c=c: flat.reshape(4, kinds)[:, c].sum() - goals[c]} for c in range(kinds)
    ]
    found = scipy.optimize.minimize(
        lambda flat: energy(flat.reshape(4, kinds)),
        np.zeros(4 * kinds),
        method="SLSQP",
        constraints=constraints,
        options={"ftol": 1e-14, "maxiter": 500},
    )
    mine = solved(graph, energy_of(graph, *parameters), kinds)
    assert abs(float(mine.energy[0]) - found.fun) < 1e-8
    # energies that agree to 1e-8 eV and bend by some eV/e² leave populations 1e-4 of a unit
    torch.testing.assert_close(mine.populations, torch.as_tensor(found.x.reshape(4, kinds)), rtol=0, atol=1e-4)


@pytest.mark.parametrize("iterative", [False, True])
def test_totals_and_equal_potentials(iterative):
    graph = lists(STRUCTURES)
    energy, totals = energy_of(graph, *draw(graph, 2)), totals_of(graph, 2)
    found = solved(graph, energy, 2, iterative)
    assert float(totals.missing(found.populations).abs().max()) < 1e-13
    slope = energy.slope(found.populations)
    assert float(totals.centred(slope).abs().max()) < 1e-10
    singlets = (graph.multiplicity == 1)[graph.batch]
    assert bool(singlets.any()) and not bool(found.populations[singlets, 1].any())
    assert found.convergence.iterations == int(found.convergence.each.max()) > 1
    assert float(found.convergence.residual.max()) <= 1e-11


def test_sums_on_a_mesh():
    """Where no matrix can be formed, conjugate gradients are taken without being asked for."""
    graph = lists([crystal(4, 4), molecule(1, 3)])
    parameters = draw(graph, 2)
    exact = energy_of(graph, *parameters)
    mesh = LatticeInteraction(GaussianKernel(), 5.0, 1e-6, mesh_from=1, include_self=True)
    other = replace(exact, coulomb=mesh.bind(graph, parameters[2]))
    assert not other.coulomb.has_matrix
    found, expected = solved(graph, other, 2), solved(graph, exact, 2)
    # the mesh's accuracy, times k_e and charges of some e, by hardnesses of some eV/e²
    torch.testing.assert_close(found.populations, expected.populations, rtol=0, atol=1e-4)


def test_a_batch_is_its_structures():
    graph = lists(STRUCTURES)
    parameters = draw(graph, 2)
    together = solved(graph, energy_of(graph, *parameters), 2)
    for index, structure in enumerate(STRUCTURES):
        inside = graph.batch == index
        own = [p[inside] if len(p) == graph.num_atoms else p for p in parameters]
        alone = lists([structure])
        single = solved(alone, energy_of(alone, *own), 2)
        torch.testing.assert_close(together.populations[inside], single.populations, rtol=1e-9, atol=1e-10)
        torch.testing.assert_close(together.energy[index : index + 1], single.energy, rtol=1e-11, atol=1e-10)


@pytest.mark.parametrize("iterative", [False, True])
def test_without_a_network_it_is_charge_equilibration(iterative):
    """Charges, energies, and their first and second derivatives."""
    graph = lists(STRUCTURES)
    chi, hardness, widths, *_ = draw(graph, 1)
    network = [torch.zeros(graph.num_atoms, 0), torch.zeros(graph.num_atoms, 0), torch.zeros(0, 1, 3)]

    def derivatives(run):
        leaves = [value.clone().requires_grad_() for value in (graph.positions, chi, hardness, widths)]
        energy, charges = run(graph.deformed(leaves[0]), *leaves[1:])
        first = torch.autograd.grad(energy.sum() + charges.square().sum(), leaves, create_graph=True)
        return [energy, charges, *first, *torch.autograd.grad(sum(g.square().sum() for g in first), leaves)]

    def populations(moved, chi, hardness, widths):
        found = solved(moved, energy_of(moved, chi, hardness, widths, *(p.double() for p in network)), 1, iterative)
        return found.energy, found.populations[:, 0]

    def charges(moved, chi, hardness, widths):
        found = equilibrate(moved, INTERACTION, chi, hardness[:, 0], widths)
        return found.energy, found.charges

    for mine, theirs in zip(derivatives(populations), derivatives(charges), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-9 * max(1.0, float(theirs.detach().abs().max())))


@pytest.mark.parametrize(("kind", "iterative"), [(General(), False), (Convex(), True)], ids=["general", "convex, cg"])
def test_derivatives_against_differences(kind, iterative):
    """Of populations, to second order, by everything that the energy depends on."""
    graph = lists([molecule(7, 4, excited=True)])
    parameters = draw(graph, 2)

    def populations(positions, *parameters):
        moved = graph.deformed(positions)
        return solved(moved, energy_of(moved, *parameters, kind=kind), 2, iterative).populations

    inputs = [value.clone().requires_grad_() for value in (graph.positions, *parameters)]
    assert torch.autograd.gradcheck(populations, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(populations, inputs, fast_mode=True)


def test_the_slope_by_the_total_is_the_common_potential():
    graph = lists([molecule(1, 5)])
    energy = energy_of(graph, *draw(graph, 1))
    total = graph.total_charge[:, None].clone().requires_grad_()
    totals = replace(totals_of(graph, 1), values=total)
    options = {"iterative": False, "tolerance": 1e-13, "max_iterations": 9, "failed": refuse}
    found = minimize_populations(energy, totals, Newton(1e-11, 50, refuse), **options)
    (slope,) = torch.autograd.grad(found.energy.sum(), total)
    torch.testing.assert_close(slope[0], energy.slope(found.populations).mean(dim=0), rtol=1e-10, atol=1e-10)


def far_pair(amplitude, kind=None, offset=0.0, direction=40.0, chi=2.0, hardness=1.0):
    """Two atoms far apart, one of which attracts electrons, and a network that sees each one's own charge alone."""
    atoms = molecule(1, 2, (1,))
    atoms.positions[:] = [[0, 0, 0], [200.0, 0, 0]]
    graph = lists([atoms])
    ones = torch.ones(2, 1, dtype=torch.float64)
    directions = torch.tensor([[[direction, 0.0, 0.0]]], dtype=torch.float64)
    electronegativity = torch.tensor([chi, -chi], dtype=torch.float64)
    parameters = electronegativity, hardness * ones, ones[:, 0], amplitude * ones, offset * ones, directions
    return graph, energy_of(graph, *parameters, kind=kind)


def test_a_kink_keeps_far_atoms_neutral():
    """Electronegativities that differ by less than the slopes at both sides of a neutral atom move no charge.

    That is the gap between ionisation energy and electron affinity, which charge equilibration doesn't have [Perdew et
    al., Phys. Rev. Lett. 49, 1691 (1982)]. a ln(1 + exp(v q)) / v has slopes 0 and a.
    """
    gap, sharp = 9.0, 400.0
    graph, plain = far_pair(0.0)
    _, kinked = far_pair(gap / sharp, direction=sharp)
    moved = float(solved(graph, plain, 1).populations[0, 0])
    kept = float(solved(graph, kinked, 1).populations[0, 0])
    assert moved < -0.1  # (chi_2 - chi_1) / (J_1 + J_2 + ...)
    assert abs(kept) < 5e-3  # of the order of 1/sharp


def test_several_minima():
    """Without convexity: from even charges the steps go one way, and where symmetry holds them up this is told."""
    deep = {"amplitude": 6.0, "kind": General(), "offset": 0.66, "direction": 5.0}
    graph, energy = far_pair(**deep, chi=1e-3, hardness=8.0)
    with pytest.raises(ModelError, match="is no minimum: an eigenvalue"):
        solved(*far_pair(**deep, chi=0.0, hardness=8.0)[:2], 1)
    found = solved(graph, energy, 1).populations
    grid = torch.linspace(-2, 2, 401, dtype=torch.float64)
    values = torch.cat([energy.value(torch.stack([q, -q])[:, None]) for q in grid]).numpy()
    lowest = [float(grid[i]) for i in range(1, 400) if values[i] < min(values[i - 1], values[i + 1])]
    assert len(lowest) > 1
    assert min(abs(float(found[0, 0]) - q) for q in lowest) < 1e-2


def test_convex_networks_bend_upwards_everywhere():
    graph = lists(STRUCTURES)
    energy, totals = energy_of(graph, *draw(graph, 2)), totals_of(graph, 2)
    least = float(energy.hardness.min())
    for seed in range(5):
        x = 5 * torch.randn(graph.num_atoms, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        step = totals.centred(torch.randn_like(x))
        bend = (step * energy.product(x)(step)).sum(dim=1)
        bend, size = (
            torch.zeros(graph.num_structures, dtype=torch.float64).index_add(0, graph.batch, v)
            for v in (bend, step.square().sum(dim=1))
        )
        assert bool((bend >= least * size - 1e-9).all())


def test_steps_that_do_not_converge(caplog):
    graph = lists(STRUCTURES)
    energy = energy_of(graph, *draw(graph, 2))
    with pytest.raises(ModelError, match=r"after 1 of Newton's steps .* of 5 structures"):
        solved(graph, energy, 2, newton=Newton(1e-11, 1, refuse))
    failed = failure("warn")
    found = solved(graph, energy, 2, newton=Newton(1e-11, 1, failed), failed=failed)
    assert failed.count == 1 and "What was reached is used" in caplog.messages[0]
    assert float(totals_of(graph, 2).missing(found.populations).abs().max()) < 1e-13


def test_what_is_not_finite_is_named():
    graph = lists(STRUCTURES)
    chi, *rest = draw(graph, 1)
    chi[7] = torch.nan
    with pytest.raises(ModelError, match="structure 1 .* right-hand side is nan at atom"):
        solved(graph, energy_of(graph, chi, *rest), 1)


def test_unknown_networks():
    with pytest.raises(ConfigError, match="Did you mean 'convex'"):
        activation("convx")
