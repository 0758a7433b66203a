"""ZBL: the battery, its limits, and what is particular to the two ways of giving radii."""

import math

import pytest
import torch
from ase import Atoms

from eqff.build import ModelContext, build_potential
from eqff.errors import ConfigError
from eqff.terms.zbl import ZBLRepulsion, zbl_pair_energy
from eqff.testing.battery import TermBattery
from eqff.testing.graphs import graph_of
from eqff.units import COULOMB_CONSTANT

TARGET = "eqff.terms.zbl.ZBLRepulsion"


class TestAbsoluteRadii(TermBattery):
    term = {"_target_": TARGET, "inner": 1.1, "outer": 2.2}
    special_radii = (1.1,)


class TestRelativeRadii(TermBattery):
    term = {"_target_": TARGET, "inner": 0.9, "outer": 1.8, "relative": True}
    # C-O: where the switch begins and ends for a pair that does not set the cutoff
    special_radii = (0.9 * (0.76 + 0.66), 1.8 * (0.76 + 0.66))


class TestOwnNeighbourList(TermBattery):
    term = {"_target_": TARGET, "inner": 0.8, "outer": 1.7, "neighbour_list": "repulsion"}


def pair(distance, numbers=(6, 8), **settings):
    term = {"_target_": TARGET, **settings}
    context = ModelContext(elements=(1, 6, 8), reference_energies={})
    potential = build_potential({"terms": {"zbl": term}}, context, torch.float64).eval()
    atoms = Atoms(numbers=numbers, positions=[[0, 0, 0], [0, distance, 0]])
    atoms.info.update(total_charge=0, multiplicity=1)
    return potential(graph_of([atoms], potential.neighbour_lists, torch.float64))


def test_derivatives_of_the_pair_energy():
    lengths = torch.linspace(0.1, 3.0, 20, dtype=torch.float64, requires_grad=True)
    numbers = torch.full((20,), 7), torch.full((20,), 14)
    energy, slope, curvature = zbl_pair_energy(lengths, *numbers)
    first = torch.autograd.grad(energy.sum(), lengths, create_graph=True)[0]
    second = torch.autograd.grad(first.sum(), lengths)[0]
    torch.testing.assert_close(slope, first, rtol=1e-12, atol=0)
    torch.testing.assert_close(curvature, second, rtol=1e-12, atol=0)


def test_bare_coulomb_at_contact():
    """phi(0) = 1: nuclei that touch repel each other without screening."""
    energy, _, _ = zbl_pair_energy(torch.tensor([1e-7], dtype=torch.float64), torch.tensor([6]), torch.tensor([8]))
    assert float(energy) * 1e-7 == pytest.approx(COULOMB_CONSTANT * 48, rel=1e-5)


def test_pair_is_counted_once():
    """Deep inside, moving a pair changes its energy as the unswitched one: no factor of two."""
    lengths = torch.tensor([0.2, 0.3], dtype=torch.float64)
    bare = zbl_pair_energy(lengths, torch.tensor([6, 6]), torch.tensor([8, 8]))[0]
    energies = [float(pair(float(r), inner=0.6, outer=1.5)["energy"]) for r in lengths]
    assert energies[0] - energies[1] == pytest.approx(float(bare[0] - bare[1]), rel=1e-12)


def test_nothing_beyond_outer():
    result = pair(1.5000001, inner=0.6, outer=1.5)
    assert float(result["energy"]) == 0.0
    assert not result["forces"].any()


@pytest.mark.parametrize("distance", [0.9, 1.2])
def test_relative_radii_are_multiples_of_the_covalent_sum(distance):
    total = 0.76 + 0.66  # Å, carbon and oxygen
    scaled = pair(distance, inner=0.5, outer=1.0, relative=True)["energy"]
    absolute = pair(distance, inner=0.5 * total, outer=total)["energy"]
    torch.testing.assert_close(scaled, absolute, rtol=1e-12, atol=0)


def test_scales_with_the_coulomb_constant():
    energies = [float(pair(0.7, inner=0.6, outer=1.5, coulomb_constant=k)["energy"]) for k in (14.0, 28.0)]
    assert math.isclose(energies[1], 2 * energies[0], rel_tol=1e-12)


@pytest.mark.parametrize("radii", [(1.0, 1.0), (-0.1, 1.0), (2.0, 1.0)])
def test_impossible_radii(radii):
    with pytest.raises(ConfigError, match="inner < outer"):
        ZBLRepulsion(*radii)


def test_relative_radii_need_elements():
    with pytest.raises(ConfigError, match="elements"):
        ZBLRepulsion(0.4, 0.8, relative=True)
