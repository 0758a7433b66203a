"""Means, drifts and radial distribution functions against what is known by hand."""

import numpy as np
import pytest
from ase.build import bulk

from eqff.simulation.analysis import drift, mean_with_error, radial_distributions
from eqff.testing.structures import molecule


def correlated(rng, count, memory):
    """Noise of unit variance that forgets within ``memory`` values."""
    keep = np.exp(-1 / memory)
    values = np.zeros(count)
    for i in range(1, count):
        values[i] = keep * values[i - 1] + np.sqrt(1 - keep**2) * rng.standard_normal()
    return values


def test_errors_of_correlated_means_are_honest():
    rng, memory, count = np.random.default_rng(0), 10, 3000
    found = [mean_with_error(correlated(rng, count, memory)) for _ in range(60)]
    actual = np.std([mean for mean, _ in found])
    assert np.mean([error for _, error in found]) == pytest.approx(actual, rel=0.3)
    assert actual > 3 / np.sqrt(count)  # what independent values would have


def test_drift_and_its_error():
    rng, time = np.random.default_rng(1), np.arange(0, 20000, 10.0)
    found = []
    for _ in range(60):
        energy = 1e-3 * 12 * (0.7 * time / 1000 + correlated(rng, len(time), 20))  # 12 atoms, 0.7 meV/atom/ps
        found.append(drift(time, energy, 12))
    slopes = np.array([line.slope for line in found])
    assert slopes.mean() == pytest.approx(0.7, abs=3 * slopes.std() / np.sqrt(60))
    assert np.mean([line.error for line in found]) == pytest.approx(slopes.std(), rel=0.3)
    assert found[0].fluctuation == pytest.approx(1.0, rel=0.2)
    assert drift(time[:5], energy[:5], 12).error is None


def test_radial_distribution_of_a_crystal_counts_neighbours_across_images():
    atoms = bulk("Cu", "fcc", a=3.6)  # one atom in the cell
    found = radial_distributions([atoms, atoms], largest=4.0, bins=200)
    width = found.radii[1] - found.radii[0]
    shell = 4 * np.pi * found.radii**2 * width / atoms.cell.volume
    for radius, neighbours in ((3.6 / np.sqrt(2), 12), (3.6, 6)):
        near = np.abs(found.radii - radius) < 0.1
        assert (found.pairs["Cu-Cu"] * shell)[near].sum() == pytest.approx(neighbours, rel=0.01)


def test_radial_distribution_of_an_ideal_gas_is_one():
    rng, frames = np.random.default_rng(0), []
    for _ in range(40):
        atoms = bulk("Cu", "fcc", a=9.0, cubic=True) * (2, 2, 2)
        atoms.positions = rng.uniform(0, 1, (len(atoms), 3)) @ atoms.cell.array
        atoms.numbers[:10] = 1
        frames.append(atoms)
    found = radial_distributions(frames, largest=5.0, bins=5)
    assert set(found.pairs) == {"H-H", "H-Cu", "Cu-Cu"}
    assert found.pairs["H-Cu"][2:] == pytest.approx(1.0, abs=0.2)


def test_pairs_of_a_molecule_are_counted_once():
    atoms = molecule(1, 6)
    found = radial_distributions([atoms], largest=50.0, bins=500)
    total = sum(line.sum() * 0.1 for line in found.pairs.values())
    assert not found.periodic and total == pytest.approx(6 * 5 / 2)
