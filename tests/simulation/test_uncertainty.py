"""Simulations with a model that knows its uncertainty: it is logged, and too much of it ends the run."""

import numpy as np
import pytest
from ase.io import read

from eqff.errors import ConfigError
from eqff.simulation import SimulationSettings, run_simulation
from eqff.uncertainty import Ensemble

LIMITS = {"max_force": 1e9, "max_temperature": 1e9, "max_atom_energy": 1e9}


def settings(**changes):
    chosen = {"structure": "", "ensemble": "nve", "steps": 30, "log_every": 5, "temperature": 600.0, "figures": False}
    return SimulationSettings(**chosen | LIMITS | changes)


@pytest.fixture(scope="module")
def ensemble(make_potential):
    return Ensemble([make_potential(0), make_potential(1)])


def test_every_row_of_the_log_has_it(ensemble, relaxed, tmp_path):
    result = run_simulation(ensemble, relaxed, settings(), tmp_path)
    assert result.completed
    frames = read(tmp_path / "trajectory.extxyz", index=":")
    frames[0].calc = ensemble.calculator()
    frames[0].get_potential_energy()
    assert result.log["energy_uncertainty_eV"][0] == pytest.approx(
        frames[0].calc.results["energy_uncertainty"], rel=1e-4
    )
    largest = frames[0].calc.results["forces_uncertainty"].max()
    assert result.log["max_force_uncertainty_eV_per_A"][0] == pytest.approx(largest, rel=1e-4)
    assert (result.log["max_force_uncertainty_eV_per_A"] > 0).all() and len(result.log["step"]) == 7


def test_a_threshold_stops_the_run(ensemble, relaxed, tmp_path):
    course = run_simulation(ensemble, relaxed, settings(log_every=1), tmp_path).log["max_force_uncertainty_eV_per_A"]
    limit = 0.5 * (course[0] + course.max())
    result = run_simulation(ensemble, relaxed, settings(log_every=1, max_uncertainty=limit), tmp_path)
    assert not result.completed and result.steps == np.flatnonzero(course > limit)[0]
    assert "the uncertainty of the force on atom" in result.message and "max_uncertainty=" in result.message
    assert (tmp_path / "last_good.extxyz").is_file()


def test_a_limit_needs_a_model_with_uncertainties(potential, relaxed, tmp_path):
    with pytest.raises(ConfigError, match="max_uncertainty=0.1 needs a model that knows how uncertain it is"):
        run_simulation(potential, relaxed, settings(max_uncertainty=0.1), tmp_path)


def test_a_model_without_uncertainties_logs_none(potential, relaxed, tmp_path):
    assert "energy_uncertainty_eV" not in run_simulation(potential, relaxed, settings(steps=1), tmp_path).log
