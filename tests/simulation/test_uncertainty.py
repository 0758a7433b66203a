"""Simulations with a model that knows its uncertainty: it is logged, and too much of it ends the run."""

import csv

import numpy as np
import pytest
from ase.io import read

from eqff.errors import ConfigError
from eqff.simulation import SimulationSettings, resume_simulation, run_simulation
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


def rows(folder):
    with (folder / "uncertainty.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_step_is_noted_whatever_the_log_has(ensemble, relaxed, tmp_path):
    log = run_simulation(ensemble, relaxed, settings(log_every=5), tmp_path).log
    found = rows(tmp_path)
    assert [int(row["step"]) for row in found] == list(range(31))
    largest = np.array([float(row["max_force_uncertainty_eV_per_A"]) for row in found])
    np.testing.assert_allclose(largest[::5], log["max_force_uncertainty_eV_per_A"], rtol=1e-4)
    assert {row["flagged"] for row in found} == {"0"} and not (tmp_path / "uncertain.extxyz").exists()


def test_flagged_steps_are_counted_and_their_frames_kept(ensemble, relaxed, tmp_path):
    run_simulation(ensemble, relaxed, settings(), tmp_path / "first")
    course = [float(row["max_force_uncertainty_eV_per_A"]) for row in rows(tmp_path / "first")]
    limit = float(np.median(course))
    result = run_simulation(ensemble, relaxed, settings(flag_uncertainty=limit, trajectory_every=4), tmp_path / "flag")
    above = np.flatnonzero(np.array(course) > limit)
    assert result.completed and result.averages["flagged_steps"] == len(above)
    assert result.averages["most_uncertain_force_eV_per_A"] == pytest.approx(max(course))
    kept = read(tmp_path / "flag" / "uncertain.extxyz", index=":")
    steps = [frame.info["step"] for frame in kept]
    assert steps[0] == above[0] and set(steps) <= set(above) and (np.diff(steps) >= 4).all()
    assert kept[0].calc is None and kept[0].info["uncertainty"] == pytest.approx(course[above[0]], rel=1e-5)


class Killed(Exception):
    """Stands for a signal that no program can take."""


def test_notes_of_a_killed_run_go_on_as_if_it_had_not_been(ensemble, relaxed, tmp_path):
    def kill(done, count=[0]):  # noqa: B006
        count[0] += done
        if count[0] == 17:
            raise Killed

    chosen = settings(flag_uncertainty=1e-6, trajectory_every=4, save_every=0.0)
    run_simulation(ensemble, relaxed, chosen, tmp_path / "whole")
    with pytest.raises(Killed):
        run_simulation(ensemble, relaxed, chosen, tmp_path / "cut", progress=kill)
    with (tmp_path / "cut" / "uncertainty.csv").open("a") as file:
        file.write("18,0.1,0.2,3,0\n19,0.")  # beyond the saved state, and cut short
    with (tmp_path / "cut" / "uncertain.extxyz").open("a") as file:
        file.write(f"{len(relaxed)}\nProperties=species:S:1:pos:R:3 step=20\nH 0.0 0")
    result = resume_simulation(ensemble, tmp_path / "cut")
    for name in ("uncertainty.csv", "uncertain.extxyz"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert result.averages["flagged_steps"] == 31


@pytest.mark.parametrize("name", ["max_uncertainty", "flag_uncertainty"])
def test_a_limit_needs_a_model_with_uncertainties(potential, relaxed, tmp_path, name):
    with pytest.raises(ConfigError, match=f"{name}=0.1 needs a model that knows how uncertain it is"):
        run_simulation(potential, relaxed, settings(**{name: 0.1}), tmp_path)


def test_a_model_without_uncertainties_logs_none(ensemble, potential, relaxed, tmp_path):
    run_simulation(ensemble, relaxed, settings(steps=1, flag_uncertainty=1e-9), tmp_path)
    result = run_simulation(potential, relaxed, settings(steps=1), tmp_path)
    assert "energy_uncertainty_eV" not in result.log
    assert not (tmp_path / "uncertainty.csv").exists() and not (tmp_path / "uncertain.extxyz").exists()
