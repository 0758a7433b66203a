"""Molecular dynamics: energy is conserved where it should be, and a run that goes wrong says so and keeps its files."""

import csv
import json

import numpy as np
import pytest
import torch
from ase import units
from ase.constraints import FixCom
from ase.io import read

from eqff.errors import ConfigError, DataError, ModelError
from eqff.simulation import SimulationSettings, read_structure, run_simulation
from eqff.simulation.ensembles import INTEGRATORS
from eqff.simulation.velocities import degrees_of_freedom, give_velocities, kinetic_temperature
from eqff.testing.structures import among_charges, crystal, molecule


def settings(**changes):
    return SimulationSettings(
        **{"structure": "", "ensemble": "nve", "steps": 40, "log_every": 1, "figures": False, **changes}
    )


def test_velocity_verlet_conserves_energy_to_second_order(potential, relaxed, tmp_path):
    """Half the timestep leaves a quarter of the fluctuation [Hairer, Lubich & Wanner, Acta Numerica 12, 399 (2003)]."""
    coarse = run_simulation(potential, relaxed, settings(timestep=0.5, steps=60), tmp_path / "coarse")
    fine = run_simulation(potential, relaxed, settings(timestep=0.25, steps=120), tmp_path / "fine")
    assert coarse.completed and fine.completed

    def spread(result):
        total = result.log["total_energy_eV"]
        return np.abs(total - total[0]).max()

    assert spread(coarse) / spread(fine) == pytest.approx(4, rel=0.3)
    assert spread(coarse) < 0.1 * np.ptp(coarse.log["potential_energy_eV"])


def test_log_and_trajectory(potential, relaxed, tmp_path):
    result = run_simulation(
        potential, relaxed, settings(steps=20, log_every=5, trajectory_every=10, figures=True), tmp_path
    )
    with result.files["log"].open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [0, 5, 10, 15, 20]
    for row in rows:
        terms = float(row["energy_local_eV"]) + float(row["energy_zbl_eV"])
        assert terms == pytest.approx(float(row["potential_energy_eV"]), abs=1e-8)
        total = float(row["potential_energy_eV"]) + float(row["kinetic_energy_eV"])
        assert total == pytest.approx(float(row["total_energy_eV"]), abs=1e-8)
    frames = read(tmp_path / "trajectory.extxyz", index=":")
    assert len(frames) == 3 and frames[-1].info["multiplicity"] == relaxed.info["multiplicity"]
    assert frames[1].get_potential_energy() == pytest.approx(float(rows[2]["potential_energy_eV"]), abs=1e-7)
    kelvin = kinetic_temperature(frames[-1], 3 * len(relaxed) - 3)
    assert kelvin == pytest.approx(float(rows[4]["temperature_K"]), rel=1e-5)
    assert all(path.stat().st_size > 0 for path in result.files.values())
    assert {"energy_drift", "temperature"} <= set(result.files)
    stored = json.loads(result.files["result"].read_text())
    assert stored["settings"]["log_every"] == 5
    assert stored["drift_meV_per_atom_per_ps"] == result.drift


def test_traj_format_and_reuse_of_a_folder(potential, relaxed, tmp_path):
    chosen = settings(steps=4, trajectory_every=2, trajectory="run.traj")
    for _ in range(2):  # the second run replaces the first one's files
        result = run_simulation(potential, relaxed, chosen, tmp_path)
        assert len(read(result.files["trajectory"], index=":")) == 3


def test_seed_decides_everything(potential, relaxed, tmp_path):
    def last(seed):
        chosen = settings(ensemble="nvt", steps=10, seed=seed)
        return run_simulation(potential, relaxed, chosen, tmp_path / str(seed)).log["temperature_K"]

    assert np.array_equal(last(1), last(1))
    assert not np.allclose(last(1), last(2))


def test_thermostat_heats_to_its_temperature(potential, relaxed, tmp_path):
    cold = relaxed.copy()
    chosen = settings(ensemble="nvt", temperature=400.0, friction=0.1, timestep=1.0, steps=300)
    result = run_simulation(potential, cold, chosen, tmp_path)
    later = result.log["temperature_K"][100:]
    # 15 degrees of freedom: one value scatters by a third, and those 20 fs apart are nearly independent
    assert later.mean() == pytest.approx(400, rel=0.25)
    assert result.mean_temperature == pytest.approx(result.log["temperature_K"].mean())
    assert result.drift is None  # the thermostat changes the energy on purpose


@pytest.mark.parametrize("name", ["velocity_verlet", "langevin"])
@pytest.mark.parametrize(
    ("atoms", "degrees"),
    [
        (molecule(1, 6), {"velocity_verlet": 12, "langevin": 15}),
        (crystal(1), {"velocity_verlet": 15, "langevin": 15}),
        (molecule(4, 1), {"velocity_verlet": 3, "langevin": 3}),
        (molecule(4, 2), {"velocity_verlet": 1, "langevin": 3}),
        (molecule(4, 3), {"velocity_verlet": 3, "langevin": 6}),
    ],
)
def test_velocities_are_thermal_in_what_moves(name, atoms, degrees):
    keeps, atoms = INTEGRATORS[name].keeps_rotation, atoms.copy()
    assert degrees_of_freedom(atoms, keeps_rotation=keeps) == degrees[name]
    give_velocities(atoms, 300.0, np.random.default_rng(0), keeps_rotation=keeps)
    assert kinetic_temperature(atoms, degrees[name]) == pytest.approx(300.0)
    assert degrees_of_freedom(atoms, keeps_rotation=keeps) == degrees[name]
    if len(atoms) > 1:
        assert np.abs(atoms.get_momenta().sum(axis=0)).max() < 1e-12
        if keeps and not atoms.pbc.any():
            assert np.abs(atoms.get_angular_momentum()).max() < 1e-9


@pytest.mark.parametrize("name", ["velocity_verlet", "langevin"])
def test_surroundings_move_a_structure_as_a_whole(name):
    """Among external charges nothing is at rest, in a uniform field no molecule is without rotation."""
    keeps = INTEGRATORS[name].keeps_rotation
    for atoms, whole in ((among_charges(molecule(1, 6), 1), 0), (molecule(1, 6), 3)):
        if whole:
            atoms.info["electric_field"] = [0.0, 0.0, 0.1]
        assert degrees_of_freedom(atoms, keeps_rotation=keeps) == 18 - whole
        give_velocities(atoms, 300.0, np.random.default_rng(0), keeps_rotation=keeps)
        assert kinetic_temperature(atoms, 18 - whole) == pytest.approx(300.0)
        assert (np.abs(atoms.get_momenta().sum(axis=0)).max() > 1e-3) == (whole == 0)
        assert np.abs(atoms.get_angular_momentum()).max() > 1e-3
        INTEGRATORS[name].build(atoms, settings(), 18 - whole, np.random.default_rng(0))
        assert any(isinstance(each, FixCom) for each in atoms.constraints) == (name == "langevin" and whole > 0)


@pytest.mark.parametrize("name", INTEGRATORS)
def test_a_drift_counts_where_it_stays(name):
    """Velocities of a file: 6 atoms without the three degrees of freedom of the drift would be taken for 360 K."""
    atoms = crystal(1)
    spread = np.sqrt(units.kB * 300 * atoms.get_masses())[:, None]
    atoms.set_momenta(spread * np.random.default_rng(0).standard_normal((6, 3)))
    keeps = INTEGRATORS[name].keeps_rotation
    assert degrees_of_freedom(atoms, keeps_rotation=keeps) == (15 if name == "langevin" else 18)
    give_velocities(atoms, 300.0, np.random.default_rng(0), keeps_rotation=keeps)
    assert degrees_of_freedom(atoms, keeps_rotation=keeps) == 15


def test_temperature_is_zero_kelvin_where_asked():
    atoms = crystal(1)
    give_velocities(atoms, 0.0, np.random.default_rng(0), keeps_rotation=True)
    assert not atoms.get_momenta().any()


def test_a_run_that_blows_up_stops_and_keeps_its_files(potential, relaxed, tmp_path):
    result = run_simulation(potential, relaxed, settings(timestep=60.0, steps=500, figures=True), tmp_path)
    assert not result.completed and result.steps < 500
    assert result.message.startswith(f"Stopped at step {result.steps} ({60 * result.steps:g} fs)")
    assert "timestep is too long" in result.message
    assert int(result.log["step"][-1]) == result.steps
    assert len(read(result.files["trajectory"], index=":")) >= 2
    assert result.files["energy_drift"].exists()


def test_limits_are_those_of_the_settings(potential, relaxed, tmp_path):
    hot = run_simulation(potential, relaxed, settings(max_temperature=10.0, temperature=300), tmp_path)
    assert not hot.completed and hot.steps == 1 and "above 10 K" in hot.message
    forced = run_simulation(potential, relaxed, settings(max_force=1e-6), tmp_path)
    assert not forced.completed and forced.steps == 0 and "max_force=1e-06" in forced.message


def test_broken_model_stops_at_the_start(make_potential, relaxed, tmp_path):
    broken = make_potential(0)
    broken.terms["local"].linear.weight.data[:] = torch.nan
    result = run_simulation(broken, relaxed, settings(), tmp_path)
    assert not result.completed and "not finite" in result.message
    assert result.to_dict()["steps"] == 0


def test_relaxation_lowers_the_energy(potential, tmp_path):
    atoms = crystal(1)
    once = run_simulation(potential, atoms, settings(steps=0), tmp_path)
    relaxed = run_simulation(potential, atoms, settings(steps=0, relax_steps=30), tmp_path)
    assert relaxed.log["potential_energy_eV"][0] < once.log["potential_energy_eV"][0] - 0.01


def test_start_is_not_changed_and_progress_is_told(potential, relaxed, tmp_path):
    before = relaxed.positions.copy()
    told = []
    run_simulation(potential, relaxed, settings(steps=5), tmp_path, progress=told.append)
    assert np.array_equal(relaxed.positions, before) and relaxed.calc is None and sum(told) == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ensemble": "nvtt"}, "Did you mean 'nvt'"),
        ({"timestep": 0}, "timestep is 0"),
        ({"temperature": -1}, "temperature is -1"),
        ({"trajectory": "t.nonsense"}, ".extxyz"),
    ],
)
def test_settings_that_can_not_be(potential, relaxed, tmp_path, change, message):
    with pytest.raises(ConfigError, match=message):
        run_simulation(potential, relaxed, settings(**change), tmp_path / "new")
    assert not (tmp_path / "new" / "log.csv").exists()


def test_structure_from_a_file(tmp_path):
    from ase.io import write

    images = [molecule(seed, 4) for seed in (1, 2, 3)]
    write(tmp_path / "a.extxyz", images)
    assert np.allclose(read_structure(settings(structure=str(tmp_path / "a.extxyz"))).positions, images[0].positions)
    third = read_structure(settings(structure=str(tmp_path / "a.extxyz@2")))
    assert np.allclose(third.positions, images[2].positions)
    assert third.info["multiplicity"] == images[2].info["multiplicity"]
    with pytest.raises(DataError, match="names 3 frames"):
        read_structure(settings(structure=str(tmp_path / "a.extxyz@:")))
    images[0].info.clear()
    write(tmp_path / "b.extxyz", images[0])
    with pytest.raises(DataError, match="total charge is nowhere given"):
        read_structure(settings(structure=str(tmp_path / "b.extxyz")))


@pytest.mark.parametrize("name", ["a.extxyz", "a.traj"])
def test_masses_of_isotopes_are_kept(potential, tmp_path, name):
    atoms = molecule(1, 5)
    masses = atoms.get_masses() * [2.0, 1.0, 1.0, 1.0, 1.0]
    atoms.set_masses(masses)
    atoms.write(tmp_path / name)
    start = read_structure(settings(structure=str(tmp_path / name)))
    np.testing.assert_array_equal(start.get_masses(), masses)
    run_simulation(potential, start, settings(steps=0, trajectory="t.traj", max_force=1e6), tmp_path / "run")
    np.testing.assert_array_equal(read(tmp_path / "run" / "t.traj").get_masses(), masses)


def test_charge_given_twice_must_agree(potential, relaxed, tmp_path):
    with pytest.raises(ModelError, match="total_charge=2"):
        run_simulation(potential, relaxed, settings(total_charge=2), tmp_path)
