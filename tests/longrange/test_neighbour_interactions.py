"""Interactions of neighbours and Slater charges: against quadrature, at the cutoff, and twice differentiated."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from scipy.integrate import quad

from eqff.errors import ModelError
from eqff.longrange.interaction import LatticeInteraction
from eqff.longrange.kernels import PointKernel
from eqff.longrange.neighbours import CutInteraction, ShieldedInteraction
from eqff.longrange.slater import ALIKE, SlaterKernel, _closed, _mean_of_equals
from eqff.testing.graphs import graph_of
from eqff.testing.structures import crystal, molecule
from eqff.units import COULOMB_CONSTANT


def numbers(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(("first", "second"), [(1.0, 1.0), (1.0, 1.05), (1.0, 1.3), (0.7, 1.9)])
@pytest.mark.parametrize("length", [0.3, 1.5])
def test_slater_kernel_is_its_integral(first: float, second: float, length: float):
    def integrand(k: float) -> float:
        transforms = [(1 + (k / (2 * exponent)) ** 2) ** -2 for exponent in (first, second)]
        return 2 / np.pi * transforms[0] * transforms[1] * np.sinc(k * length / np.pi)

    expected, _ = quad(integrand, 0, 300, limit=2000, epsabs=1e-12)
    found = 1 / length - float(SlaterKernel().complement(*map(numbers, (length, 1 / first, 1 / second)))[0])
    assert found == pytest.approx(expected, abs=1e-9)


def test_both_formulas_of_slater_charges_agree_where_they_meet():
    one, two = 1.0, (1 + ALIKE / 2) / (1 - ALIKE / 2)
    for length in (0.2, 1.0, 3.0):
        found = [formula(*map(numbers, (length, one, two))) for formula in (_closed, _mean_of_equals)]
        torch.testing.assert_close(*found, rtol=0, atol=2e-11)


def test_slater_charges_are_points_from_afar_and_finite_nearby():
    kernel, widths = SlaterKernel(), numbers(0.5, 0.8)
    extent = kernel.extent(widths, 1e-8)
    left = extent * float(kernel.complement(numbers(extent), numbers(0.8), numbers(0.8))[0])
    assert 0.5e-8 < left < 2e-8
    nearly = [1 / 1e-3 - float(kernel.complement(numbers(1e-3), numbers(w), numbers(w))[0]) for w in (0.5, 0.8)]
    torch.testing.assert_close(kernel.self_interaction(widths), numbers(*nearly), rtol=1e-4, atol=0)


@pytest.mark.parametrize("interaction", [LatticeInteraction(SlaterKernel(), 8.0, 1e-8), ShieldedInteraction(5.0)])
def test_second_derivatives(interaction):
    atoms = molecule(1, 4)
    graph = graph_of([atoms], interaction.neighbour_lists, torch.float64)
    charges = numbers(0.3, -0.7, 0.6, -0.2)

    def energy(positions: torch.Tensor, widths: torch.Tensor) -> torch.Tensor:
        return interaction.bind(graph.deformed(positions), widths).energy(charges)

    inputs = (graph.positions.clone().requires_grad_(), numbers(0.3, 0.32, 0.5, 0.4).requires_grad_())
    assert torch.autograd.gradgradcheck(energy, inputs, atol=1e-4)


def test_shielded_charges_end_smoothly():
    """Energy and its first two derivatives are zero just inside of the cutoff."""
    interaction = ShieldedInteraction(5.0)
    lengths = numbers(5.0 - 1e-4).requires_grad_()
    value = interaction.pair(lengths, numbers(1.0), numbers(1.0))
    (slope,) = torch.autograd.grad(value, lengths, create_graph=True)
    (curvature,) = torch.autograd.grad(slope, lengths)
    assert max(abs(float(x.detach()[0])) for x in (value, slope, curvature)) < 1e-6


def test_longer_lists_change_nothing_and_images_count():
    """A pair in a small cell has all its images within the cutoff, and none beyond."""
    interaction = ShieldedInteraction(4.0)
    atoms = Atoms("H", cell=[2.5] * 3, pbc=True, info={"total_charge": 0, "multiplicity": 2})
    expected = 0.0
    for x in np.ndindex(5, 5, 5):
        length = 2.5 * np.linalg.norm(np.array(x) - 2)
        if 0 < length < 4:
            expected += float(interaction.pair(numbers(length), numbers(1.2), numbers(1.2))[0])
    for cutoff in (4.0, 5.5):
        graph = graph_of([atoms], {interaction.list_name: cutoff}, torch.float64)
        energy = interaction.bind(graph, numbers(1.2)).energy(numbers(1.0))
        assert float(energy) == pytest.approx(0.5 * COULOMB_CONSTANT * expected, rel=1e-12)


def test_a_bare_cut_is_all_pairs_of_a_small_molecule():
    cut, every = CutInteraction(PointKernel(), 30.0), LatticeInteraction(PointKernel())
    graph = graph_of([molecule(2, 5)], cut.neighbour_lists | every.neighbour_lists, torch.float64)
    charges = numbers(0.1, 0.2, -0.5, 0.4, -0.2)
    torch.testing.assert_close(cut.bind(graph).energy(charges), every.bind(graph).energy(charges))


@pytest.mark.parametrize("interaction", [ShieldedInteraction(4.0), CutInteraction(SlaterKernel(), 4.0, 0.2)])
def test_charges_need_widths(interaction):
    graph = graph_of([crystal(1)], interaction.neighbour_lists, torch.float64)
    with pytest.raises(ModelError, match="need widths"):
        interaction.bind(graph)
