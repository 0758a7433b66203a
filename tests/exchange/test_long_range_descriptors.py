"""Potentials of latent densities as features: the battery, and the sums against one channel and plain formulas."""

import pytest
import torch

from eqff.errors import ConfigError, ModelError
from eqff.exchange.long_range_descriptors import LongRangeDescriptors
from eqff.longrange.multipoles.damping import GaussianDamping
from eqff.longrange.multipoles.moments import Moments, traceless
from eqff.longrange.multipoles.switching import SwitchedDamping
from eqff.testing.battery import LOCAL_ENERGY, ExchangeBattery
from eqff.testing.graphs import graph_of
from eqff.testing.structures import molecule, one_of_each
from eqff.units import COULOMB_CONSTANT

TARGET = "eqff.exchange.long_range_descriptors.LongRangeDescriptors"
WIDTH = 0.5
SETTINGS = {"densities": 3, "short_range": "gaussian", "width": WIDTH, "cutoff": 8.0, "accuracy": 1e-12}
FAR = {**SETTINGS, "short_range": "switch", "switch": (1.5, 3.5)}


class Descriptors(ExchangeBattery):
    exchange = {"_target_": TARGET, **SETTINGS}

    def test_far_fragments_add_up(self) -> None:
        """They don't, as ions: densities are not neutral. What is left at a distance is 1/r and falls with it."""
        potential, first = self.potential(), molecule(32, 4)
        second = molecule(33, 3)
        rest = []
        for distance in (1000.0, 2000.0):
            both = first + second
            both.positions[4:] += [distance, 0.0, 0.0]
            both.info.update(total_charge=0, multiplicity=1 + int(both.numbers.sum()) % 2)
            alone = [atoms.copy() for atoms in (first, second)]
            # total charge and multiplicity enter the smallest backbone
            for atoms in alone:
                atoms.info.update(both.info)
            together = self.predict(potential, [both])["energy"]
            rest.append(float(together - self.predict(potential, alone)["energy"].sum()))
        assert abs(rest[0]) > 1e-6
        assert rest[1] / rest[0] == pytest.approx(0.5, rel=2e-2)


class TestFarField(Descriptors):
    exchange = {"_target_": TARGET, **FAR}
    special_radii = (1.5, 3.5)


@pytest.mark.slow
class TestSmeared(Descriptors):
    exchange = {"_target_": TARGET, **SETTINGS}


@pytest.mark.slow
class TestDegreeTwo(Descriptors):
    """On features of all degrees, with a term that reads them."""

    exchange = {"_target_": TARGET, **SETTINGS, "degree": 2}

    @property
    def model(self):
        backbone = {"_target_": "eqff.backbones.equivariant.EquivariantMessagePassing", "channels": 4, "cutoff": 4.0}
        probe = {"_target_": "eqff.testing.minimal.PowerEnergy", "degree": 2}
        return {
            "backbone": backbone,
            "exchanges": {"exchange": self.exchange},
            "terms": {"local": LOCAL_ENERGY, "probe": probe},
        }


def exchange(**more):
    torch.manual_seed(0)
    return LongRangeDescriptors(4, 2, **{**SETTINGS, **more}).double()


@pytest.mark.parametrize("settings", [SETTINGS, FAR], ids=["smeared", "far"])
def test_projections_are_fields_channel_by_channel(settings):
    """In every periodicity, against the sums of one set of moments."""
    part = exchange(**settings, degree=2)
    graph = graph_of(list(one_of_each().values()), part.neighbour_lists, torch.float64)
    densities = torch.randn(graph.num_atoms, 3, dtype=torch.float64)
    found = part.projections(graph, densities)
    smeared = GaussianDamping(torch.full((graph.num_atoms,), WIDTH, dtype=torch.float64))
    bound = part.interaction.bind(graph, smeared if settings is SETTINGS else SwitchedDamping(1.5, 3.5))
    basis = part.basis
    for channel in range(3):
        fields = bound.fields(Moments(densities[:, channel]), 2)
        bent = torch.einsum("nab,mab->nm", traceless(fields.gradient), basis)
        for values, expected in zip(found, (fields.potential[:, None], fields.field, bent), strict=True):
            torch.testing.assert_close(values[:, :, channel], expected, rtol=1e-11, atol=1e-11)


def test_projections_are_derivatives_of_the_potential():
    """Of erf(r / √2 w) / r of all other atoms, at a point that moves away from the nucleus."""
    part, atoms = exchange(degree=2), molecule(1, 5)
    graph = graph_of([atoms], part.neighbour_lists, torch.float64)
    densities = torch.randn(5, 3, dtype=torch.float64)

    def potential(point, channel):
        r = torch.linalg.vector_norm(point - graph.positions[1:], dim=1)
        return COULOMB_CONSTANT * (densities[1:, channel] * torch.erf(r / (2**0.5 * WIDTH)) / r).sum()

    found, basis = part.projections(graph, densities), part.basis
    for channel in range(3):
        here = graph.positions[0]
        slope = torch.func.grad(potential)(here, channel)
        bent = torch.func.hessian(potential)(here, channel)
        expected = potential(here, channel)[None], -slope, torch.einsum("ab,mab->m", -traceless(bent), basis)
        for values, value in zip(found, expected, strict=True):
            torch.testing.assert_close(values[0, :, channel], value, rtol=1e-10, atol=1e-10)


def test_meshes_give_the_same():
    part, mesh = exchange(accuracy=1e-6, cutoff=6.0), exchange(accuracy=1e-6, cutoff=6.0, mesh_from=1)
    graph = graph_of(list(one_of_each().values()), part.neighbour_lists, torch.float64)
    densities = torch.randn(graph.num_atoms, 3, dtype=torch.float64)
    for one, other in zip(part.projections(graph, densities), mesh.projections(graph, densities), strict=True):
        # the accuracy, times k_e and a density of a few charges within a few Å
        torch.testing.assert_close(one, other, rtol=0, atol=3e-4)


def test_near_atoms_are_left_out_of_the_far_field():
    part, atoms = exchange(**FAR), molecule(1, 2)
    for distance, expected in ((1.4, 0.0), (3.6, COULOMB_CONSTANT / 3.6)):
        atoms.positions[:] = [[0, 0, 0], [distance, 0, 0]]
        graph = graph_of([atoms], part.neighbour_lists, torch.float64)
        potential, field = part.projections(graph, torch.ones(2, 3, dtype=torch.float64))
        assert float(potential[0, 0, 0]) == pytest.approx(expected, rel=1e-12)
        assert float(field[0, 0, 0]) == pytest.approx(-expected / distance, rel=1e-12)


def test_far_atoms_reach_features():
    """An atom beyond all cutoffs changes features by its potential."""
    part, atoms = exchange(), molecule(1, 2)
    shifts = []
    for distance in (30.0, 60.0):
        atoms.positions[:] = [[0, 0, 0], [distance, 0, 0]]
        graph = graph_of([atoms], part.neighbour_lists, torch.float64)
        potential, field = part.projections(graph, torch.ones(2, 3, dtype=torch.float64))
        shifts.append((float(potential[0, 0, 0]), float(field[0, 0, 0])))
    assert shifts[0][0] == pytest.approx(COULOMB_CONSTANT / 30.0, rel=1e-12)
    assert shifts[1][1] == pytest.approx(-COULOMB_CONSTANT / 60.0**2, rel=1e-12)


def test_densities_too_wide_for_the_cutoff():
    with pytest.raises(ModelError, match="Raise cutoff to"):
        LongRangeDescriptors(4, 2, short_range="gaussian", width=3.0)
    with pytest.raises(ModelError, match="Raise cutoff to"):
        LongRangeDescriptors(4, 2, switch=(2.0, 9.0))
    with pytest.raises(ConfigError, match="inner < outer"):
        LongRangeDescriptors(4, 2, switch=(3.0, 2.0))
