"""What each ensemble holds: energies that no step changes, temperatures, pressures, atoms that stay."""

import re

import numpy as np
import pytest
from ase import units
from ase.calculators.calculator import Calculator, all_changes
from ase.constraints import FixAtoms
from ase.io import read, write

from eqff.errors import ConfigError, DataError
from eqff.simulation import SimulationSettings, read_structure, run_simulation
from eqff.simulation.ensembles import INTEGRATORS
from eqff.simulation.start import prepare
from eqff.simulation.velocities import give_velocities
from eqff.testing.structures import crystal, molecule


def settings(**changes):
    return SimulationSettings(**{"structure": "", "log_every": 1, "figures": False, **changes})


CONSERVED = {
    "bussi": {"ensemble": "nvt", "thermostat": "bussi"},
    "nose_hoover": {"ensemble": "nvt", "thermostat": "nose_hoover"},
    "npt": {"ensemble": "npt", "pressure": 5.0, "barostat_time": 40.0},
    "npt_full": {"ensemble": "npt", "pressure": 5.0, "barostat_time": 40.0, "cell": "full"},
}


@pytest.mark.parametrize("name", CONSERVED)
def test_the_conserved_energy_is_conserved_to_second_order(potential, relaxed, tmp_path, name):
    """It holds the work against the pressure, so a stress of the wrong sign or size would show."""
    common = CONSERVED[name] | {"thermostat_time": 30.0}
    coarse = run_simulation(potential, relaxed, settings(timestep=0.5, steps=40, **common), tmp_path / "a")
    fine = run_simulation(potential, relaxed, settings(timestep=0.25, steps=80, **common), tmp_path / "b")

    def spread(result):
        return np.ptp(result.log["conserved_energy_eV"])

    assert spread(coarse) < 0.1 * np.ptp(coarse.log["total_energy_eV"])
    # 4 if noise did not differ between the two; 2 to first order
    assert spread(coarse) / spread(fine) > 2.5
    assert coarse.drift is not None
    if name.startswith("npt"):
        assert np.ptp(coarse.log["volume_A3"]) > 0.01 * coarse.log["volume_A3"][0]


def test_full_cells_change_their_shape_and_isotropic_ones_do_not(potential, relaxed, tmp_path):
    shapes = {}
    for cell in ("isotropic", "full"):
        chosen = settings(ensemble="npt", cell=cell, barostat_time=40.0, steps=30, trajectory_every=30)
        run_simulation(potential, relaxed, chosen, tmp_path / cell)
        last = read(tmp_path / cell / "trajectory.extxyz", index=-1)
        shapes[cell] = last.cell.array / last.cell.volume ** (1 / 3)
    before = relaxed.cell.array / relaxed.cell.volume ** (1 / 3)
    np.testing.assert_allclose(shapes["isotropic"], before, rtol=1e-6)
    assert np.abs(shapes["full"] - before).max() > 1e-3


@pytest.mark.parametrize("thermostat", ["bussi", pytest.param("nose_hoover", marks=pytest.mark.slow)])
def test_thermostats_hold_the_temperature_of_what_moves(potential, relaxed, tmp_path, thermostat):
    """6 atoms: counting 3N instead of 3N - 3 would show as 360 K."""
    chosen = settings(
        ensemble="nvt", thermostat=thermostat, temperature=300.0, timestep=2.0, steps=600,
        thermostat_time=20.0, max_temperature=1e5,
    )  # fmt: skip
    result = run_simulation(potential, relaxed, chosen, tmp_path)
    assert result.completed
    error = result.averages["mean_temperature_uncertainty_K"]
    assert 1 < error < 25
    assert result.mean_temperature == pytest.approx(300, abs=35)


def test_molecules_get_their_temperature_without_rotation(potential, tmp_path):
    atoms = molecule(1, 6)
    chosen = settings(ensemble="nvt", thermostat="bussi", steps=10, trajectory_every=10, max_force=1e4)
    run_simulation(potential, atoms, chosen, tmp_path)
    last = read(tmp_path / "trajectory.extxyz", index=-1)
    arms = np.linalg.norm(last.positions - last.get_center_of_mass(), axis=1)
    possible = arms @ np.linalg.norm(last.get_momenta(), axis=1)
    assert np.linalg.norm(last.get_angular_momentum()) < 1e-5 * possible


@pytest.mark.parametrize("ensemble", ["nve", "nvt", "relax"])
def test_fixed_atoms_stay(potential, tmp_path, ensemble):
    atoms = crystal(1)
    run_simulation(potential, atoms, settings(ensemble=ensemble, steps=10, fixed_atoms=(0, 3)), tmp_path)
    frames = read(tmp_path / "trajectory.extxyz", index=":")
    moved = np.abs(frames[-1].positions - frames[0].positions).max(axis=1)
    assert moved[[0, 3]].max() == 0 and moved[[1, 2, 4]].min() > 1e-4


@pytest.mark.parametrize("fixed", [(), (0, 3)])
def test_the_log_has_forces_as_they_are_though_the_centre_is_held(potential, relaxed, tmp_path, fixed):
    chosen = settings(ensemble="nvt", steps=2, fixed_atoms=fixed, trajectory="t.traj", trajectory_every=1)
    log = run_simulation(potential, relaxed, chosen, tmp_path).log
    largest = [np.linalg.norm(frame.get_forces(), axis=1).max() for frame in read(tmp_path / "t.traj", index=":")]
    np.testing.assert_allclose(log["max_force_eV_per_A"], largest, atol=1e-8)


def test_fixed_atoms_are_at_rest_though_the_structure_has_them_move(potential, relaxed, tmp_path):
    atoms = relaxed.copy()
    atoms.set_momenta(np.full((len(atoms), 3), 0.1))
    chosen = settings(ensemble="nve", velocities="structure", fixed_atoms=(0, 3), steps=0)
    log = run_simulation(potential, atoms, chosen, tmp_path).log
    expected = (0.5 * 0.03 / np.delete(atoms.get_masses(), [0, 3])).sum()
    assert log["kinetic_energy_eV"][0] == pytest.approx(expected, abs=1e-8)


def test_constraints_that_are_not_kept_are_told(potential, relaxed, tmp_path):
    atoms, told = relaxed.copy(), []
    atoms.set_constraint(FixAtoms([0, 3]))
    atoms.write(tmp_path / "held.traj")
    start = read_structure(settings(structure=f"{tmp_path}/held.traj"))
    run_simulation(potential, start, settings(steps=0, fixed_atoms=(3, 0)), tmp_path / "kept", report=told.append)
    assert not told
    for fixed, held in (((), "no atoms"), ((0,), r"\[0\]")):
        run_simulation(potential, start, settings(steps=0, fixed_atoms=fixed), tmp_path / "run", report=told.append)
        assert re.search(rf"\(FixAtoms\) are not kept; held are {held}, as fixed_atoms says", told.pop())


def test_velocities_of_the_structure_are_kept(potential, relaxed, tmp_path):
    common = {"ensemble": "nve", "trajectory": "a.traj", "trajectory_every": 4}
    whole = run_simulation(potential, relaxed, settings(steps=8, **common), tmp_path / "whole")
    chosen = settings(structure=f"{tmp_path}/whole/a.traj@1", steps=4, velocities="structure", **common)
    again = run_simulation(potential, read_structure(chosen), chosen, tmp_path / "again")
    for name in ("total_energy_eV", "temperature_K"):
        np.testing.assert_allclose(again.log[name], whole.log[name][4:], rtol=1e-9)
    write(tmp_path / "bare.extxyz", relaxed)
    with pytest.raises(DataError, match="has no momenta"):
        read_structure(settings(structure=f"{tmp_path}/bare.extxyz", velocities="structure"))


@pytest.mark.parametrize(("optimizer", "pressure"), [("lbfgs", 8.0), ("bfgs", 0.0)])
def test_relaxation_of_the_cell_ends_at_the_pressure(potential, relaxed, tmp_path, optimizer, pressure):
    chosen = settings(
        ensemble="relax", cell="full", optimizer=optimizer, pressure=pressure, relax_fmax=0.005, steps=600,
        trajectory="t.traj",
    )  # fmt: skip
    result = run_simulation(potential, relaxed, chosen, tmp_path)
    assert result.completed and "Relaxed in" in result.message
    last = {name: values[-1] for name, values in result.log.items()}
    assert last["max_force_eV_per_A"] < 0.005
    for name in ("xx", "yy", "zz"):
        assert last[f"stress_{name}_GPa"] == pytest.approx(-pressure, abs=0.3)
    for name in ("yz", "xz", "xy"):
        assert last[f"stress_{name}_GPa"] == pytest.approx(0, abs=0.3)
    # the enthalpy is at its minimum along the volume, by energies alone
    atoms = read(tmp_path / "t.traj", index=-1)
    atoms.calc = potential.calculator()
    enthalpy = []
    for scale in (0.998, 1.0, 1.002):
        scaled = atoms.copy()
        scaled.calc = atoms.calc
        scaled.set_cell(atoms.cell.array * scale, scale_atoms=True)
        enthalpy.append(scaled.get_potential_energy() + pressure * units.GPa * scaled.cell.volume)
    assert enthalpy[1] < min(enthalpy[0], enthalpy[2])


def test_constant_volume_keeps_the_volume(potential, relaxed, tmp_path):
    chosen = settings(ensemble="relax", cell="constant_volume", optimizer="fire", steps=30)
    result = run_simulation(potential, relaxed, chosen, tmp_path)
    np.testing.assert_allclose(result.log["volume_A3"], relaxed.cell.volume, rtol=1e-6)
    assert result.log["potential_energy_eV"][-1] < result.log["potential_energy_eV"][0]


def test_unfinished_relaxation_says_so(potential, tmp_path):
    result = run_simulation(potential, crystal(1), settings(ensemble="relax", steps=2, relax_fmax=1e-6), tmp_path)
    assert not result.completed and "Not relaxed after 2 steps" in result.message
    assert f"resume={tmp_path}" in result.message


@pytest.mark.parametrize(
    ("make", "change", "message"),
    [
        (molecule, {"ensemble": "npt"}, "periodic in three directions"),
        (molecule, {"ensemble": "relax", "cell": "full"}, "periodic in three directions"),
        (crystal, {"ensemble": "nvt", "pressure": 1.0}, "pressure=1 has no effect"),
        (crystal, {"ensemble": "nve", "cell": "full"}, "cell=full and ensemble=nve"),
        (crystal, {"ensemble": "npt", "fixed_atoms": (0,)}, "fixed_atoms and ensemble=npt"),
        (crystal, {"thermostat": "nose_hoover", "fixed_atoms": (0,)}, "fixed_atoms and thermostat=nose_hoover"),
        (crystal, {"ensemble": "npt", "temperature": 0.0}, "temperature=0"),
        (crystal, {"fixed_atoms": (9,)}, "there is no atom 9"),
        (crystal, {"fixed_atoms": (0, 1, 2, 3, 4, 5)}, "nothing could move"),
        (crystal, {"fixed_atoms": (-1,)}, "fixed_atoms"),
        (crystal, {"thermostat": "langevine"}, "Did you mean 'langevin'"),
        (crystal, {"skin": -1.0}, "skin is -1"),
        (crystal, {"steps": 1.5}, "steps is 1.5"),
        (crystal, {"seed": True}, "seed is True"),
        (crystal, {"max_force": float("nan")}, "max_force is nan"),
    ],
)
def test_what_does_not_go_together(potential, tmp_path, make, change, message):
    with pytest.raises(ConfigError, match=message):
        run_simulation(potential, make(1), settings(**change), tmp_path / "new")
    assert not (tmp_path / "new").exists()


class ChargedChain(Calculator):
    """Atoms on springs, the first of which a uniform field pulls at."""

    implemented_properties = ["energy", "forces"]
    electric_field = (0.0, 0.3, 0.1)

    def calculate(self, atoms=None, properties=("energy",), system_changes=tuple(all_changes)):
        super().calculate(atoms, properties, system_changes)
        bonds, field = np.diff(atoms.positions, axis=0), np.array(self.electric_field)
        forces = 3.0 * (np.pad(bonds, ((0, 1), (0, 0))) - np.pad(bonds, ((1, 0), (0, 0))))
        forces[0] += field
        energy = 1.5 * (bonds**2).sum() - field @ atoms.positions[0]
        self.results = {"energy": energy, "forces": forces}


def driven_ion():
    ion = molecule(1, 6, total_charge=1)
    ion.calc = ChargedChain()
    give_velocities(ion, 300.0, np.random.default_rng(0), keeps_rotation=True)
    return ion


def test_an_ion_in_a_field_moves_about_its_centre_as_if_it_were_accelerated():
    """To rounding, as a uniform acceleration changes no difference of positions."""
    held, free = driven_ion(), driven_ion()
    INTEGRATORS["velocity_verlet"].build(held, settings(), 15, np.random.default_rng(0)).run(40)
    free.info["total_charge"] = 0  # so that nothing holds it
    INTEGRATORS["velocity_verlet"].build(free, settings(), 15, np.random.default_rng(0)).run(40)
    np.testing.assert_allclose(held.get_center_of_mass(), driven_ion().get_center_of_mass(), atol=1e-12)
    assert np.linalg.norm(free.get_center_of_mass() - held.get_center_of_mass()) > 0.01
    relative = [atoms.positions - atoms.get_center_of_mass() for atoms in (held, free)]
    np.testing.assert_allclose(*relative, atol=1e-11)


def test_the_acceleration_of_an_ion_is_no_heat(potential):
    ion = driven_ion()
    INTEGRATORS["bussi"].build(ion, settings(thermostat_time=20.0), 15, np.random.default_rng(0)).run(40)
    assert np.abs(ion.get_momenta().sum(axis=0)).max() < 1e-9
    field = {"electric_field": (0.0, 0.0, 0.1), "ensemble": "nvt", "allow_unseen_state": True}
    prepare(molecule(1, 6, total_charge=1), potential, settings(**field, thermostat="bussi"), print)
    with pytest.raises(ConfigError, match="nose_hoover can't hold the centre of mass of an ion"):
        prepare(molecule(1, 6, total_charge=1), potential, settings(**field, thermostat="nose_hoover"), print)
    prepare(molecule(1, 6), potential, settings(**field, thermostat="nose_hoover"), print)
