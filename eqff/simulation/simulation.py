"""Molecular dynamics with a model: relaxation, velocities, steps with a watch on them, and what came of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.optimize import LBFGS

from eqff.checkpoints.atomic import replacing
from eqff.checkpoints.metadata import eqff_version
from eqff.checkpoints.plain import plain
from eqff.data.atoms import to_atoms
from eqff.data.reading import read_frames
from eqff.errors import DataError
from eqff.interfaces.ase import EqffCalculator
from eqff.potential import Potential
from eqff.simulation.ensembles import Ensemble, find_ensemble, give_velocities, kinetic_temperature
from eqff.simulation.recorder import Recorder
from eqff.simulation.settings import SimulationSettings
from eqff.tracking.plots import energy_drift, linear_drift, save_figure, temperature

Progress = Callable[[int], None]


@dataclass(frozen=True)
class SimulationResult:
    """What a molecular dynamics left.

    Attributes:
        completed: Whether all steps were done.
        message: One sentence: that all went well, or why it was stopped.
        steps: Steps done.
        simulated: fs.
        drift: Of the total energy, meV/atom/ps, by a linear fit; None with a thermostat, which changes it on purpose.
        fluctuation: Standard deviation of the total energy around that line, meV/atom; None likewise.
        mean_temperature: K; None if not a single step could be done.
        seconds: Wall time of the steps.
        log: Column to values, as in the log file.
        files: What was written, by kind.
    """

    completed: bool
    message: str
    steps: int
    simulated: float
    drift: float | None
    fluctuation: float | None
    mean_temperature: float | None
    seconds: float
    log: dict[str, np.ndarray]
    files: dict[str, Path] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The numbers with their units in their names, for JSON and reports; what has no meaning here is left out."""
        values = {
            "completed": self.completed,
            "message": self.message,
            "steps": self.steps,
            "simulated_ps": self.simulated / 1000,
            "drift_meV_per_atom_per_ps": self.drift,
            "total_energy_fluctuation_meV_per_atom": self.fluctuation,
            "mean_temperature_K": self.mean_temperature,
            "steps_per_second": self.steps / self.seconds if self.seconds else 0.0,
        }
        return {name: value for name, value in values.items() if value is not None}


def read_structure(settings: SimulationSettings) -> Atoms:
    """The structure to start from, with charge and spin state in its ``info``.

    Raises:
        DataError: There is none, or its charge or multiplicity are nowhere given.
    """
    path = settings.structure if "@" in Path(settings.structure).name else f"{settings.structure}@0"
    frames = read_frames(path, total_charge=settings.total_charge, multiplicity=settings.multiplicity, labels=())
    if len(frames) != 1:
        raise DataError(f"structure: '{path}' names {len(frames)} frames; a simulation starts from one, e.g. FILE@0.")
    return to_atoms(frames[0])


def run_simulation(
    potential: Potential,
    atoms: Atoms,
    settings: SimulationSettings,
    folder: str | Path,
    *,
    progress: Progress | None = None,
) -> SimulationResult:
    """Runs molecular dynamics; writes log, trajectory, ``result.json``, ``energy_drift.png`` and ``temperature.png``.

    A run that leaves what a model can describe (a force or temperature beyond the settings' limits, or numbers that are
    not finite) is stopped and says so in its result; all up to then is on disk.

    Args:
        potential: The model.
        atoms: Start; not changed. ``info`` gives charge and spin state where the settings don't.
        settings: How.
        folder: Where everything goes.
        progress: Is told the number of steps done since it was last called.

    Raises:
        ConfigError: A setting that can't be.
        EqffError: The model can't describe the structure at all.
    """
    folder, rng = Path(folder), np.random.default_rng(settings.seed)
    ensemble = find_ensemble(settings.ensemble)
    atoms = _prepared(atoms, potential, settings)
    with Recorder(folder, settings.trajectory, tuple(potential.terms)) as recorder:
        start, steps, trouble = time.perf_counter(), 0, relax(atoms, settings)
        if not trouble:
            give_velocities(atoms, settings.temperature, ensemble, rng)
            start = time.perf_counter()
            steps, trouble = _integrate(atoms, settings, ensemble, rng, recorder, progress)
        seconds = time.perf_counter() - start
    result = _result(steps, trouble, seconds, settings, recorder, len(atoms))
    about = {"settings": asdict(settings), "terms": list(potential.terms), "eqff_version": eqff_version()}
    with replacing(result.files["result"]) as temporary:
        temporary.write_text(json.dumps(plain(about | result.to_dict()), indent=1), encoding="utf-8")
    return result


def _prepared(atoms: Atoms, potential: Potential, settings: SimulationSettings) -> Atoms:
    """A copy with the calculator, and with its charge and spin state in ``info``, so that the trajectory has it."""
    atoms = atoms.copy()
    atoms.calc = EqffCalculator(potential, total_charge=settings.total_charge, multiplicity=settings.multiplicity)
    structure = atoms.calc.structure(atoms)
    atoms.info.update({name: round(float(structure[name])) for name in ("total_charge", "multiplicity")})
    return atoms


def _result(
    steps: int, trouble: str, seconds: float, settings: SimulationSettings, recorder: Recorder, num_atoms: int
) -> SimulationResult:
    folder, log = recorder.log.parent, recorder.columns()
    files = {"log": recorder.log, "result": folder / "result.json"}
    if len(log["step"]):
        files |= {"trajectory": recorder.trajectory} | _figures(log, settings, num_atoms, folder)
    done = f"All {steps} steps done: {steps * settings.timestep / 1000:g} ps of {settings.ensemble.upper()}."
    return SimulationResult(
        completed=not trouble,
        message=trouble or done,
        steps=steps,
        simulated=steps * settings.timestep,
        seconds=seconds,
        log=log,
        files=files,
        **_averages(log, settings, num_atoms),
    )


def relax(atoms: Atoms, settings: SimulationSettings) -> str:
    """Relaxes positions if the settings ask for it; returns what went wrong, else an empty text."""
    if settings.relax_steps:
        LBFGS(atoms, logfile=None).run(fmax=settings.relax_fmax, steps=settings.relax_steps)
    return _trouble(atoms, settings, 0.0, "at the start")


def _integrate(
    atoms: Atoms,
    settings: SimulationSettings,
    ensemble: Ensemble,
    rng: np.random.Generator,
    recorder: Recorder,
    progress: Progress | None,
) -> tuple[int, str]:
    """All steps, or those up to trouble; how many, and what the trouble was."""
    degrees = ensemble.degrees_of_freedom(atoms)
    dynamics = ensemble.integrator(atoms, settings, rng)
    recorder.row(0, 0.0, atoms, kinetic_temperature(atoms, degrees))
    recorder.frame(atoms)
    for step in range(1, settings.steps + 1):
        dynamics.run(1)
        kelvin = kinetic_temperature(atoms, degrees)
        trouble = _trouble(atoms, settings, kelvin, f"at step {step} ({step * settings.timestep:g} fs)")
        if step % settings.log_every == 0 or trouble:
            recorder.row(step, step * settings.timestep, atoms, kelvin)
        if step % settings.trajectory_every == 0 or trouble:
            recorder.frame(atoms)
        if progress is not None:
            progress(1)
        if trouble:
            return step, f"{trouble} See the last frames of {recorder.trajectory.name}."
    return settings.steps, ""


def _trouble(atoms: Atoms, settings: SimulationSettings, kelvin: float, when: str) -> str:
    """Why the run can't go on, else an empty text."""
    remedy = "The model is most likely beyond what it was trained on, or the timestep is too long."
    forces = np.linalg.norm(atoms.get_forces(), axis=1)
    if not (np.isfinite(forces).all() and np.isfinite(atoms.get_potential_energy())):
        return f"Stopped {when}: energy or forces are not finite. {remedy}"
    worst = int(forces.argmax())
    if forces[worst] > settings.max_force:
        return (
            f"Stopped {when}: the force on atom {worst} ({atoms[worst].symbol}) is {forces[worst]:.4g} eV/Å, above "
            f"max_force={settings.max_force:g}. {remedy}"
        )
    if kelvin > settings.hottest:
        return f"Stopped {when}: the temperature is {kelvin:.5g} K, above {settings.hottest:g} K. {remedy}"
    return ""


def _figures(log: dict[str, np.ndarray], settings: SimulationSettings, num_atoms: int, folder: Path) -> dict[str, Path]:
    fs, held = log["time_fs"], find_ensemble(settings.ensemble).thermostat
    energies = log["total_energy_eV"], log["potential_energy_eV"]
    kelvin = temperature(fs, log["temperature_K"], settings.temperature if held else None)
    return {
        "energy_drift": save_figure(
            energy_drift(fs, *energies, num_atoms, conserved=not held), folder / "energy_drift.png"
        ),
        "temperature": save_figure(kelvin, folder / "temperature.png"),
    }


def _averages(log: dict[str, np.ndarray], settings: SimulationSettings, num_atoms: int) -> dict[str, float | None]:
    total, fs = log["total_energy_eV"], log["time_fs"]
    averages: dict[str, float | None] = {"drift": None, "fluctuation": None, "mean_temperature": None}
    if not len(fs):
        return averages
    averages["mean_temperature"] = float(log["temperature_K"].mean())
    if not find_ensemble(settings.ensemble).thermostat:
        slope, offset = linear_drift(fs, total, num_atoms)
        around = 1000 * (total - total[0]) / num_atoms - offset - slope * fs / 1000
        averages |= {"drift": slope, "fluctuation": float(around.std())}
    return averages
