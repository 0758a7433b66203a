"""The potential around a prediction."""

import numpy as np
import pytest
import torch

from eqff.build import build_potential
from eqff.data.atoms import from_atoms
from eqff.errors import ConfigError, ModelError
from eqff.evaluation.predictions import predict
from eqff.observables.potentials import electrostatic_potential
from eqff.testing.battery import LOCAL_ENERGY, MINIMAL_BACKBONE, HeadBattery
from eqff.testing.structures import crystal, molecule
from eqff.units import COULOMB_CONSTANT

MODEL = {
    "backbone": MINIMAL_BACKBONE,
    "heads": {
        "charges": {"_target_": "eqff.heads.charges.Charges", "hidden": 8},
        "dipoles": {"_target_": "eqff.heads.multipoles.AtomicDipoles", "hidden": 8},
        "quadrupoles": {"_target_": "eqff.heads.multipoles.AtomicQuadrupoles", "hidden": 8},
        "alpha": {"_target_": "eqff.heads.polarizabilities.Polarizabilities", "hidden": 8},
        "dipole": {
            "_target_": "eqff.heads.dipole.Dipole",
            "atomic_dipoles": False,
            "include": ["atomic_dipoles", "induced_dipoles"],
        },
        "quadrupole": {
            "_target_": "eqff.heads.quadrupole.Quadrupole",
            "include": ["atomic_dipoles", "induced_dipoles", "atomic_quadrupoles"],
        },
    },
    "terms": {
        "local": LOCAL_ENERGY,
        "induction": {"_target_": "eqff.terms.induction.Induction", "dipoles": "atomic_dipoles"},
    },
}
NAMES = ("charges", "atomic_dipoles", "induced_dipoles", "atomic_quadrupoles", "dipole", "quadrupole")


@pytest.fixture(scope="module")
def predicted():
    torch.manual_seed(0)
    potential = build_potential(MODEL, HeadBattery().context(), torch.float64)
    frame = from_atoms(molecule(3, total_charge=1))
    return frame, predict(potential, [frame], labels=NAMES)[0].labels


def test_far_away_it_is_that_of_the_total_moments(predicted):
    """Of charge, dipole and quadrupole at the origin; what remains falls off faster, by the octupole."""
    frame, labels = predicted
    direction = np.array([0.48, -0.6, 0.64])
    errors = []
    for distance in (200.0, 400.0):
        far = 1.0 / distance + labels["dipole"] @ direction / distance**2
        far = COULOMB_CONSTANT * (far + direction @ labels["quadrupole"] @ direction / distance**3)
        found = electrostatic_potential(frame, labels, distance * direction[None])[0]
        errors.append(abs(found - far))
    assert errors[0] < 0.05 * COULOMB_CONSTANT / 200**3
    assert errors[0] / errors[1] == pytest.approx(16, rel=0.3)


def test_each_moment_counts(predicted):
    frame, labels = predicted
    points = np.array([[6.0, 0.0, 1.0], [0.0, -7.0, 2.0]])
    whole = electrostatic_potential(frame, labels, points)
    parts = [electrostatic_potential(frame, {name: labels[name]}, points) for name in NAMES[:4]]
    np.testing.assert_allclose(np.sum(parts, axis=0), whole, rtol=1e-12)
    assert all(np.abs(part).min() > 1e-6 for part in parts)


def test_many_points_are_taken_piece_by_piece(predicted, monkeypatch):
    frame, labels = predicted
    points = 8.0 + np.random.default_rng(0).random((50, 3))
    whole = electrostatic_potential(frame, labels, points)
    monkeypatch.setattr("eqff.longrange.multipoles.points.PAIRS_AT_ONCE", 40)
    np.testing.assert_allclose(electrostatic_potential(frame, labels, points), whole, rtol=1e-12)
    assert electrostatic_potential(frame, labels, np.zeros((0, 3))).shape == (0,)


def test_what_can_not_be_is_said(predicted):
    frame, labels = predicted
    with pytest.raises(ConfigError, match="shape"):
        electrostatic_potential(frame, labels, np.zeros(3))
    with pytest.raises(ModelError, match="no moments"):
        electrostatic_potential(frame, {"energy": np.zeros(())}, np.zeros((1, 3)))
    other = from_atoms(crystal(1))
    with pytest.raises(ModelError, match="periodic"):
        electrostatic_potential(other, {"charges": np.zeros(other.num_nodes)}, np.ones((1, 3)))
    with pytest.raises(ModelError, match="A point lies on atom 1 "):
        electrostatic_potential(frame, labels, frame.positions.numpy()[1:2])
