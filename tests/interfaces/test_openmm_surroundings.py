"""Particles around a region as external charges, in and without a box: images, fading, and its forces. No OpenMM."""

from dataclasses import replace

import numpy as np
import pytest

from eqff.errors import ModelError
from eqff.interfaces.openmm.cells import nearest, whole
from eqff.interfaces.openmm.surroundings import Surroundings

BOX = np.array([[14.0, 0.0, 0.0], [2.0, 15.0, 0.0], [-3.0, 1.5, 16.0]])
RNG = np.random.default_rng(0)


def _system(molecules=40):
    """A region of three particles and molecules of three, two of which have charges; (positions, surroundings)."""
    centres = RNG.uniform(0, 14, (molecules + 1, 1, 3))
    positions = (centres + RNG.uniform(-1, 1, (molecules + 1, 3, 3))).reshape(-1, 3)
    particles = np.concatenate([[3 * m, 3 * m + 2] for m in range(1, molecules + 1)])
    charges = np.tile([0.4, -0.3], molecules)
    owners = np.repeat(np.arange(molecules), 2)
    before = 3 * (np.arange(len(positions)) // 3)
    return positions, Surroundings(np.arange(3), particles, charges, owners, (3.0, 6.0), 0.1, before)


def test_nearest_images_are_the_shortest_within_half_the_box():
    shifts = np.array([[i, j, k] for i in range(-2, 3) for j in range(-2, 3) for k in range(-2, 3)])
    vectors = RNG.uniform(-20, 20, (200, 3))
    shortest = np.linalg.norm(vectors[:, None] + shifts @ BOX, axis=2).min(axis=1)
    found = np.linalg.norm(nearest(vectors, BOX), axis=1)
    close = shortest < 7.0
    assert close.sum() > 20
    np.testing.assert_allclose(found[close], shortest[close], atol=1e-12)


def test_a_region_is_made_whole():
    positions = np.array([[0.2, 0.1, 0.3], [0.9, 0.0, 0.0], [0.2, -0.6, 0.4]])
    broken = positions + np.array([[0, 0, 0], [1, 0, 0], [0, 1, -1]]) @ BOX
    np.testing.assert_allclose(whole(broken, BOX), positions, atol=1e-12)
    with pytest.raises(ModelError, match="more than half of the box"):
        whole(np.array([[0.0, 0, 0], [5.0, 0, 0], [-5.0, 0, 0]]), BOX)


def _energy(positions, surroundings, box):
    """Of charges in a made-up potential phi = sin(x) + y z about the region's centre; with forces of both kinds."""
    region = whole(positions[surroundings.region], box)
    around = surroundings.around(region, positions, box)
    x, y, z = (around.positions - region.mean(axis=0)).T
    phi = np.sin(x) + y * z
    on_charges = -around.charges[:, None] * np.stack([np.cos(x), z, y], axis=1)
    forces = around.forces(on_charges, phi, len(positions))
    forces[surroundings.region] -= on_charges.sum(axis=0) / 3
    return around.charges @ phi, forces


@pytest.mark.parametrize("box", [None, BOX], ids=["open", "box"])
def test_forces_are_minus_the_gradient(box):
    """Also of molecules that are just fading, and by images: against central differences along random directions."""
    positions, surroundings = _system()
    _, forces = _energy(positions, surroundings, box)
    for _ in range(3):
        along = RNG.normal(size=positions.shape)
        ends = [_energy(positions + sign * 1e-5 * along, surroundings, box)[0] for sign in (1, -1)]
        assert -(forces * along).sum() == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-7, abs=1e-7)
    np.testing.assert_allclose(forces.sum(axis=0), 0.0, atol=1e-12)


def test_images_do_not_matter():
    positions, surroundings = _system()
    moved = positions + RNG.integers(-1, 2, positions.shape) @ BOX
    one, other = (_energy(places, surroundings, BOX) for places in (positions, moved))
    assert one[0] == pytest.approx(other[0], rel=1e-10)
    np.testing.assert_allclose(one[1], other[1], atol=1e-9)


def test_molecules_that_are_longer_than_the_box_hold_together():
    """A chain beside the region, bonded from its middle to both ends, every other particle without a charge."""
    chain = np.column_stack([np.linspace(-16, 16, 41), np.full(41, 3.0), np.zeros(41)])
    positions = np.concatenate([0.5 * np.eye(3), chain]) + RNG.integers(-2, 3, (44, 3)) @ BOX
    before = np.concatenate([np.zeros(3, int), np.arange(4, 24), [23], np.arange(23, 43)])
    particles = np.arange(3, 44, 2)
    charges, fade = np.full(21, 0.1), (4.0, 6.5)
    surroundings = Surroundings(np.arange(3), particles, charges, np.zeros(21, int), fade, 0.0, before)
    around = surroundings.around(whole(positions[:3], BOX), positions, BOX)
    np.testing.assert_allclose(around.positions - around.positions[0], (chain - chain[0])[::2], atol=1e-12)
    assert around.charges == pytest.approx(charges)  # its centre is near


def test_molecules_fade_as_wholes():
    """Between the two distances their charges are scaled alike; beyond the second they are gone."""
    positions, surroundings = _system()
    region = whole(positions[:3], BOX)
    around = surroundings.around(region, positions, BOX)
    pairs = around.charges.reshape(-1, 2)
    np.testing.assert_allclose(pairs[:, 0] / pairs[:, 1], -4 / 3)
    assert 0 < len(pairs) < 40 and (pairs[:, 0] <= 0.4).all() and (pairs[:, 0] < 0.4).any()
    assert (around.widths == 0.1).all()


@pytest.mark.parametrize("fade", [None, (5.0, 7.5)])
def test_cutoffs_beyond_the_nearest_images_are_refused(fade):
    positions, surroundings = _system()
    too_far = replace(surroundings, fade=fade)
    with pytest.raises(ModelError, match=r"half of its width, which is 7\.00 Å"):
        too_far.around(whole(positions[:3], BOX), positions, BOX)


def test_nothing_around():
    none = np.zeros(0, dtype=np.int64)
    around = Surroundings(np.arange(2), none, np.zeros(0), none, None, 0.0, np.arange(2)).around(
        np.zeros((2, 3)), np.zeros((2, 3)), None
    )
    assert around.positions.shape == (0, 3) and len(around.charges) == 0
