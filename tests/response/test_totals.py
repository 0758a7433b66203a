"""Moments of structures against many point charges, about every origin."""

import numpy as np
import pytest
import torch
from ase import Atoms

from eqff.errors import ConfigError
from eqff.longrange.multipoles.moments import Moments
from eqff.response.totals import origins, total_dipole, total_quadrupole
from eqff.testing.graphs import graph_of
from eqff.testing.structures import molecule


@pytest.fixture
def cloud():
    """Charges around three sites, and the sites with the moments of their charges."""
    rng = np.random.default_rng(0)
    sites = rng.normal(size=(3, 3)) * 3
    arms, charges = rng.normal(size=(3, 8, 3)), rng.normal(size=(3, 8))
    outer = 3 * arms[..., :, None] * arms[..., None, :] - (arms**2).sum(-1)[..., None, None] * np.eye(3)
    moments = Moments(
        torch.as_tensor(charges.sum(1)),
        torch.as_tensor((charges[..., None] * arms).sum(1)),
        torch.as_tensor(0.5 * (charges[..., None, None] * outer).sum(1)),
    )
    graph = graph_of([Atoms("CON", sites, info={"total_charge": 0, "multiplicity": 2})], {}, torch.float64)
    return graph, moments, (sites[:, None] + arms).reshape(-1, 3), charges.ravel()


@pytest.mark.parametrize("about", [None, [1.0, -2.0, 0.5]])
def test_totals_are_those_of_all_charges(cloud, about):
    graph, moments, places, charges = cloud
    point = None if about is None else torch.tensor([about], dtype=torch.float64)
    moved = places - (0 if about is None else np.array(about))
    np.testing.assert_allclose(total_dipole(graph, moments, point)[0], charges @ moved, rtol=1e-12)
    second = 3 * np.einsum("k,ka,kb->ab", charges, moved, moved) - charges @ (moved**2).sum(1) * np.eye(3)
    np.testing.assert_allclose(total_quadrupole(graph, moments, point)[0], 0.5 * second, rtol=1e-11, atol=1e-11)


def test_origins():
    atoms = [molecule(1), molecule(2, 4)]
    graph = graph_of(atoms, {}, torch.float64)
    assert not bool(origins(graph, "coordinates").any())
    np.testing.assert_allclose(origins(graph, "center_of_mass"), [a.get_center_of_mass() for a in atoms], atol=1e-12)
    charge = [a.numbers @ a.positions / a.numbers.sum() for a in atoms]
    np.testing.assert_allclose(origins(graph, "center_of_nuclear_charge"), charge, atol=1e-12)
    with pytest.raises(ConfigError, match="Did you mean 'center_of_mass'"):
        origins(graph, "center_of_mas")
