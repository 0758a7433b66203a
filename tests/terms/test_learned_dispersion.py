"""Learned dispersion: the battery with coefficients of elements and of atoms, and sums without an end."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms

from eqff.errors import ConfigError
from eqff.terms.learned_dispersion import LearnedDispersion
from eqff.testing.battery import MINIMAL_BACKBONE, TermBattery
from eqff.testing.graphs import graph_of
from eqff.testing.structures import crystal, molecule, slab, wire

TARGET = "eqff.terms.learned_dispersion.LearnedDispersion"


class TestElements(TermBattery):
    term = {"_target_": TARGET, "cutoff": 4.5, "fade": 1.0}
    perturbation = 0.02


class TestPredicted(TermBattery):
    backbone = MINIMAL_BACKBONE
    heads = {"c6": {"_target_": "eqff.heads.dispersion_coefficients.DispersionCoefficients", "hidden": 0}}
    term = {"_target_": TARGET, "c6": "c6_coefficients", "cutoff": 5.0, "fade": 2.0}
    perturbation = 0.02  # larger ones make C6 so steep that the battery's finite differences end above its tolerance


class TestWithoutAnEnd(TermBattery):
    term = {"_target_": TARGET, "cutoff": 5.0, "fade": 1.0, "accuracy": 1e-12}
    perturbation = 0.02
    fragment_tolerance = 1e-7  # forces of the tail, 6 C6/r⁷, some 1e-10 eV/Å

    def fragment_interaction(self, first: Atoms, second: Atoms) -> float:
        """Every pair far away: -C6/r⁶, undamped."""
        term = self.potential().terms["term"]
        roots = [(term.log_c6.detach() / 2).exp()[term.species(torch.as_tensor(a.numbers))] for a in (first, second)]
        lengths = np.linalg.norm(first.positions[:, None] - second.positions[None], axis=-1)
        return float(-(torch.outer(*roots) / torch.as_tensor(lengths) ** 6).sum())


def energy_of(atoms: Atoms, **settings) -> float:
    term = LearnedDispersion((1, 6, 7, 8), **settings).double()
    return float(term(graph_of([atoms], term.neighbour_lists, torch.float64), {})["energy"].detach().sum())


def direct_sum(atoms: Atoms, reach: float) -> float:
    """Pairs with all images within a sphere of many cells, and what lies beyond in d dimensions by its integral."""
    term = LearnedDispersion((1, 6, 7, 8)).double()
    species = term.species(torch.as_tensor(atoms.numbers))
    c = (term.log_c6.detach() / 2).exp().numpy()[species]
    radii = term.two_body.damping.log_radii.detach().exp().numpy()[species]
    cell, pbc = np.array(atoms.cell), atoms.pbc
    shortest = np.linalg.norm(cell[pbc], axis=1).min(initial=np.inf)
    counts = [int(np.ceil(1.5 * reach / shortest)) if periodic else 0 for periodic in pbc]
    whole = np.stack(np.meshgrid(*[np.arange(-n, n + 1) for n in counts], indexing="ij"), axis=-1)
    shifts = whole.reshape(-1, 3) @ cell
    total = 0.0
    for i, j in np.ndindex(len(atoms), len(atoms)):
        lengths = np.linalg.norm(atoms.positions[j] + shifts - atoms.positions[i], axis=1)
        lengths = lengths[(lengths > 1e-9) & (lengths < reach)]
        total -= 0.5 * c[i] * c[j] * (1 / (lengths**6 + (radii[i] + radii[j]) ** 6)).sum()
    dimension = int(pbc.sum())
    if dimension:
        content = np.sqrt(np.linalg.det(cell[pbc] @ cell[pbc].T))
        surface = {1: 2.0, 2: 2 * np.pi, 3: 4 * np.pi}[dimension]
        total -= 0.5 * c.sum() ** 2 * surface / content / (6 - dimension) / reach ** (6 - dimension)
    return total


@pytest.mark.parametrize("atoms", [molecule(1), wire(2), slab(3), crystal(4)], ids=["open", "wire", "slab", "crystal"])
def test_lattice_sums_are_direct_ones(atoms):
    found = energy_of(atoms, cutoff=14.0, fade=2.0, accuracy=1e-10)
    assert found == pytest.approx(direct_sum(atoms, 60.0), rel=2e-5)


def test_nothing_depends_on_the_cutoff():
    """But for what damping takes away beyond it, which a slab has no tail for; sums that end there lack far more."""
    atoms = slab(5)
    exact = energy_of(atoms, cutoff=16.0, accuracy=1e-10)
    error, ended = (abs(energy_of(atoms, cutoff=11.0, accuracy=a) / exact - 1) for a in (1e-10, None))
    assert error < 1e-4 < 1e-3 < ended


def test_settings_that_contradict():
    with pytest.raises(ConfigError, match="they have no end"):
        LearnedDispersion((1,), tail=False, accuracy=1e-6)
