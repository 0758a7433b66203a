"""Spectra of trajectories: from files, from models, and of periodic structures whichever images are given."""

import csv
import json

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from eqff.build import ModelContext, build_potential
from eqff.checkpoints import save_model
from eqff.command_line.run import run_command
from eqff.errors import ConfigError, DataError
from eqff.observables.spectra import BOLTZMANN, WAVENUMBER
from eqff.observables.trajectories import Trajectory, read_trajectory, spectra, unwrapped
from eqff.spectrum import _from_command_line

POSITION, INTERVAL, TEMPERATURE, FRAMES = 1000.0, 6.0, 300.0, 250
CHARGES = {"Na": 1.0, "Cl": -1.0}
MODEL = {
    "heads": {
        "charges": {"_target_": "eqff.heads.formal_charges.FormalCharges", "charges": CHARGES},
        "dipole": {"_target_": "eqff.heads.born_charges.DipoleAndBornCharges", "atomic_dipoles": False},
    },
    "terms": {"zbl": {"_target_": "eqff.terms.zbl.ZBLRepulsion", "inner": 0.8, "outer": 1.6}},
}
MASS = 22.98976928  # sodium moves, chlorine rests
EXPECTED = 42.2561 / 0.20819434**2 / MASS  # km/mol of an elementary charge on this mass


def _frames(cell=None, count=FRAMES, dipoles=True):
    """Sodium oscillating along x with the energy kT, and its dipole about chlorine."""
    frequency = POSITION / WAVENUMBER
    amplitude = np.sqrt(2 * BOLTZMANN * TEMPERATURE / (MASS * 103.642696)) / frequency
    frames = []
    for step in range(count):
        phase = frequency * INTERVAL * step + 0.7
        atoms = Atoms("NaCl", [[0.02 + amplitude * np.cos(phase), 0, 0], [0.0, 0, 2.4]])
        if cell is not None:
            atoms.set_cell(cell)
            atoms.pbc = True
        atoms.set_velocities([[-amplitude * frequency * np.sin(phase) / units.fs, 0, 0], [0, 0, 0]])
        if dipoles:
            atoms.calc = SinglePointCalculator(atoms, dipole=atoms.positions[0] - atoms.positions[1])
        frames.append(atoms)
    return frames


@pytest.fixture(scope="module")
def potential():
    return build_potential(MODEL, ModelContext((11, 17), {11: 0.0, 17: 0.0}), torch.float64)


def _band(spectrum):
    return spectrum.band(POSITION - 200, POSITION + 200)


def test_dipoles_of_the_trajectory():
    found = spectra(Trajectory(_frames(), INTERVAL, TEMPERATURE), None)
    assert list(found) == ["infrared"] and _band(found["infrared"]) == pytest.approx(EXPECTED, rel=0.01)


def test_dipoles_of_a_model(potential):
    frames = _frames(dipoles=False)
    found = spectra(Trajectory(frames, INTERVAL, TEMPERATURE), potential, total_charge=0, multiplicity=1)
    assert _band(found["infrared"]) == pytest.approx(EXPECTED, rel=0.01)


@pytest.mark.parametrize("velocities", [True, False])
def test_wrapped_atoms_of_a_crystal(potential, velocities):
    """Born charges and velocities, or dipoles of unwrapped atoms: the same as for the molecule."""
    frames = _frames(cell=[4.0, 5.0, 6.0], dipoles=False)
    for frame in frames:
        frame.wrap()
        if not velocities:
            del frame.arrays["momenta"]
    jumps = np.abs(np.diff([frame.positions[0, 0] for frame in frames])).max()
    assert jumps > 3.0  # sodium crosses the boundary again and again
    found = spectra(Trajectory(frames, INTERVAL, TEMPERATURE), potential, total_charge=0, multiplicity=1)
    assert _band(found["infrared"]) == pytest.approx(EXPECTED, rel=0.01)
    smooth = [frame.positions[0, 0] for frame in unwrapped(frames)]
    assert np.abs(np.diff(smooth)).max() < 0.5


def test_wrapped_dipoles_are_refused():
    frames = _frames(cell=[4.0, 5.0, 6.0], count=100)
    for frame in frames:
        frame.wrap()
        frame.calc = SinglePointCalculator(frame, dipole=frame.positions[0])
    with pytest.raises(DataError, match="were wrapped"):
        spectra(Trajectory(frames, INTERVAL, TEMPERATURE), None)


def test_nothing_to_go_by():
    frames = _frames(count=50, dipoles=False)
    with pytest.raises(DataError, match="holds no dipoles"):
        spectra(Trajectory(frames, INTERVAL, TEMPERATURE), None)


def test_reading(tmp_path):
    frames = _frames(count=20)
    write(tmp_path / "trajectory.extxyz", frames)
    with pytest.raises(ConfigError, match="interval.*fs"):
        read_trajectory(tmp_path / "trajectory.extxyz", None, 300.0)
    with pytest.raises(DataError, match=r"simulation\.json"):
        read_trajectory(tmp_path, None, None)
    settings = {"trajectory": "trajectory.extxyz", "timestep": 0.5, "trajectory_every": 4, "temperature": 310.0}
    (tmp_path / "simulation.json").write_text(json.dumps({"settings": {**settings, "ensemble": "nvt"}}))
    found = read_trajectory(tmp_path, None, None, discard=0.25)
    assert (found.interval, found.temperature, len(found.frames)) == (2.0, 310.0, 15)
    (tmp_path / "simulation.json").write_text(json.dumps({"settings": {**settings, "ensemble": "nve"}}))
    with pytest.raises(ConfigError, match="temperature.*K"):  # of a start with these velocities it is not the mean
        read_trajectory(tmp_path, None, None)
    write(tmp_path / "mixed.extxyz", [*frames, Atoms("H")])
    with pytest.raises(DataError, match="different atoms"):
        read_trajectory(tmp_path / "mixed.extxyz", 1.0, 300.0)
    (tmp_path / "empty.extxyz").touch()
    with pytest.raises(DataError, match="can't be read as a trajectory: Empty file"):
        read_trajectory(tmp_path / "empty.extxyz", 1.0, 300.0)


def test_command(tmp_path, potential, capsys):
    write(tmp_path / "x.extxyz", _frames(dipoles=False))
    save_model(
        tmp_path / "m.safetensors", potential, model_config=MODEL, context=ModelContext((11, 17), {11: 0, 17: 0})
    )
    settings = {"trajectory": tmp_path / "x.extxyz", "model": tmp_path / "m.safetensors", "output": tmp_path / "out"}
    settings |= {
        "interval": INTERVAL,
        "temperature": TEMPERATURE,
        "total_charge": 0,
        "multiplicity": 1,
        "device": "cpu",
    }
    run_command(_from_command_line, "spectrum", [f"{key}={value}" for key, value in settings.items()], "commands")
    assert "figure:" in capsys.readouterr().out and (tmp_path / "out" / "spectrum.png").is_file()
    with (tmp_path / "out" / "peaks.csv").open(encoding="utf-8") as file:
        peaks = list(csv.DictReader(file))
    assert [row["spectrum"] for row in peaks] == ["infrared"]
    assert float(peaks[0]["wavenumber (cm⁻¹)"]) == pytest.approx(POSITION, abs=5)
    assert float(peaks[0]["band within 1.5 resolutions"]) == pytest.approx(EXPECTED, rel=0.02)
