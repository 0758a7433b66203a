"""The polarizable water that is put beside OpenMM: axes, moments, the fastest settings."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

import induction_beside as tool


def test_axes_are_right_handed_and_turn_with_the_molecule():
    rng = np.random.default_rng(0)
    positions = rng.normal(size=(5, 3, 3))
    axes = tool.frames(positions)
    assert np.allclose(axes @ axes.transpose(0, 1, 3, 2), np.eye(3), atol=1e-12)
    assert np.allclose(np.linalg.det(axes), 1.0)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    assert np.allclose(tool.frames(positions @ turn.T), axes @ turn.T)


def test_moments_are_amoebas():
    arrays = tool.system(192)
    assert arrays["charges"].sum() == pytest.approx(0.0, abs=1e-9)
    assert np.allclose(np.trace(arrays["quadrupoles"], axis1=1, axis2=2), 0.0, atol=1e-12)
    # of a molecule: AMOEBA's water has 1.77 D in its own geometry, whose angle is 4° wider
    molecule = slice(0, 3)
    charges, positions = arrays["charges"][molecule], arrays["positions"][molecule]
    dipole = charges @ (positions - positions[0]) + arrays["dipoles"][molecule].sum(axis=0)
    assert np.linalg.norm(dipole) / 0.20819434 == pytest.approx(1.85, abs=0.02)


def test_the_fastest_that_is_accurate_enough():
    tried = [(1.0, 1e-3, {"a": 1}), (3.0, 1e-5, {"a": 2}), (2.0, 1e-4, {"a": 3})]
    assert tool.fastest(tried, 5e-4) == ({"a": 3}, 1e-4)
    with pytest.raises(RuntimeError, match="No settings"):
        tool.fastest(tried, 1e-6)


def test_forces_are_those_of_the_energy():
    """Of the whole evaluation that is timed."""
    arrays = tool.system(24)
    settings = {"cutoff": 4.0, "accuracy": 1e-8, "tolerance": 1e-11}
    forces = tool.ours(24, arrays, settings)()[1]
    assert forces.shape == (24, 3)
    assert np.abs(forces.sum(dim=0).numpy()).max() < 1e-6
