"""Gaussian charges at any places: against sums in other forms, and with all derivatives where places coincide."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch
from ase import Atoms

from eqff.longrange.gaussian_sites import GaussianSites, Sites
from eqff.longrange.interaction import LatticeInteraction
from eqff.longrange.kernels import GaussianKernel
from eqff.testing.graphs import graph_of
from eqff.testing.structures import crystal, molecule, slab, wire
from eqff.units import COULOMB_CONSTANT

WIDTH = 0.9
EVERY = {"molecule": molecule(1), "wire": wire(2), "slab": slab(3), "crystal": crystal(4)}


def charges_of(count: int, seed: int = 0) -> torch.Tensor:
    return torch.as_tensor(np.random.default_rng(seed).normal(size=count))  # with a net charge


def arranged(structures: list[Atoms], lists=None):
    graph = graph_of(structures, lists or {}, torch.float64)
    return graph, Sites(charges_of(graph.num_atoms), graph.positions, graph.batch)


@pytest.mark.parametrize("mesh_from", [1, 10**6], ids=["mesh", "waves"])
def test_it_is_ewalds_sum_of_gaussian_charges(mesh_from):
    """Neighbours and waves, where these are waves alone; structures of every periodicity in one batch."""
    reference = LatticeInteraction(GaussianKernel(WIDTH), 8.0, 1e-10)
    graph, sites = arranged(list(EVERY.values()), reference.neighbour_lists)
    expected = reference.bind(graph).energy(sites.charges)
    accuracy = 1e-6 if mesh_from == 1 else 1e-10
    found = GaussianSites(WIDTH, accuracy, mesh_from).energy(sites, graph.cell, graph.pbc)
    size = COULOMB_CONSTANT * float(sites.charges.square().sum())
    assert float((found - expected).abs().max()) < 10 * accuracy * size


def test_open_structures_have_a_sum_over_pairs():
    graph, sites = arranged([EVERY["molecule"]])
    energy = 0.0
    for i, j in product(range(graph.num_atoms), repeat=2):
        if i < j:
            distance = float((sites.positions[i] - sites.positions[j]).norm())
            both = float(sites.charges[i] * sites.charges[j])
            energy += COULOMB_CONSTANT * both * math.erf(distance / (math.sqrt(2) * WIDTH)) / distance
    found = GaussianSites(WIDTH).energy(sites, graph.cell, graph.pbc)
    assert float(found) == pytest.approx(energy, rel=1e-13)


def test_crystals_have_the_sum_of_the_paper():
    """1/(2 pi V) sum_m exp(-pi² m²/beta²)/m² |S(m)|², less the energy of each charge with itself; neutral."""
    graph, sites = arranged([EVERY["crystal"]])
    sites = Sites(sites.charges - sites.charges.mean(), sites.positions, sites.batch)
    beta, cell = 1 / (math.sqrt(2) * WIDTH), graph.cell[0].numpy()
    reciprocal, volume, energy = np.linalg.inv(cell).T, abs(np.linalg.det(cell)), 0.0
    for multiples in product(range(-9, 10), repeat=3):
        m = np.array(multiples) @ reciprocal
        squared = float(m @ m)
        if squared:
            structure = np.sum(sites.charges.numpy() * np.exp(-2j * np.pi * (sites.positions.numpy() @ m)))
            energy += np.exp(-(np.pi**2) * squared / beta**2) / squared * abs(structure) ** 2
    energy = COULOMB_CONSTANT * energy / (2 * np.pi * volume)
    energy -= COULOMB_CONSTANT * beta / math.sqrt(math.pi) * float(sites.charges.square().sum())
    found = GaussianSites(WIDTH, 1e-12).energy(sites, graph.cell, graph.pbc)
    assert float(found) == pytest.approx(energy, rel=1e-9)


@pytest.mark.parametrize("atoms", EVERY.values(), ids=EVERY.keys())
def test_second_derivatives(atoms):
    """By places and charges, two places being one: nothing is singular there."""
    graph, sites = arranged([atoms])
    places = torch.cat([graph.positions[:3], graph.positions[:1]])
    batch = torch.zeros(4, dtype=torch.int64)
    interaction = GaussianSites(WIDTH, 1e-6)

    def energy(places, charges):
        return interaction.energy(Sites(charges, places, batch), graph.cell, graph.pbc)

    inputs = (places.requires_grad_(), charges_of(4, 1).requires_grad_())
    assert torch.autograd.gradcheck(energy, inputs, fast_mode=True, atol=1e-5)
    assert torch.autograd.gradgradcheck(energy, inputs, fast_mode=True, atol=1e-4)


def test_structures_without_charges_have_no_energy():
    """Open or periodic, beside others that have some."""
    graph, _ = arranged([EVERY["molecule"], EVERY["slab"], EVERY["crystal"]])
    kept = graph.batch == 2
    sites = Sites(charges_of(int(kept.sum())), graph.positions[kept], graph.batch[kept])
    alone, one = arranged([EVERY["crystal"]])[0], Sites(sites.charges, sites.positions, sites.batch * 0)
    interaction = GaussianSites(WIDTH)
    found = interaction.energy(sites, graph.cell, graph.pbc)
    assert not bool(found[:2].any())
    torch.testing.assert_close(found[2:], interaction.energy(one, alone.cell, alone.pbc))
