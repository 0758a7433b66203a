"""Running a simulation: from a structure or a saved state, step by step, with a watch on it, to its files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import ase
import numpy as np
from ase import Atoms
from ase.io import read, write
from ase.optimize import LBFGS

from eqff.checkpoints.metadata import eqff_version
from eqff.config import settings as checked_settings
from eqff.data.graph import FRAGMENTS
from eqff.errors import ConfigError, EqffError, ModelError
from eqff.potential import Potential
from eqff.simulation import doubts
from eqff.simulation.doubts import DoubtLog
from eqff.simulation.ensembles import choose_integrator
from eqff.simulation.finish import RESULT_FILE, finish, write_json
from eqff.simulation.loop import LAST_GOOD, Progress, Run, advance
from eqff.simulation.observables import log_columns
from eqff.simulation.recorder import Recorder
from eqff.simulation.result import SimulationResult
from eqff.simulation.settings import SimulationSettings
from eqff.simulation.start import Report, attach_calculator, hold, prepare, require_uncertainty
from eqff.simulation.state import STATE_FILE, SavedState, fingerprint, load_state
from eqff.simulation.stepping import Stepper, build_stepper
from eqff.simulation.trajectory import check_format
from eqff.simulation.velocities import degrees_of_freedom, give_velocities
from eqff.simulation.watch import Limits

CONFIG_FILE, START_FILE = "simulation.json", "start.traj"
CHANGEABLE = (
    "steps",
    "save_every",
    "max_temperature",
    "max_atom_energy",
    "max_force",
    "min_distance",
    "max_uncertainty",
)
"""Settings that a resumed run can change: they decide how far it goes, not where."""


def _silent(line: str) -> None:
    """Where nobody wants to be told."""


def run_simulation(
    potential: Potential,
    atoms: Atoms,
    settings: SimulationSettings,
    folder: str | Path,
    *,
    progress: Progress | None = None,
    report: Report = _silent,
    origin: Mapping[str, Any] | None = None,
) -> SimulationResult:
    """Runs a simulation; writes log, trajectory, state, ``result.json`` and figures into a folder.

    A run that leaves what a model can describe (a force, temperature or distance beyond the limits, or numbers that are
    not finite) is stopped and says so in its result; all up to then is on disk, and the last good frame by itself.

    Args:
        potential: The model.
        atoms: Start; not changed. ``info`` gives charge and spin state where the settings don't.
        settings: How.
        folder: Where everything goes; what an earlier run left under the same names is replaced.
        progress: Is told the number of steps done since it was last called.
        report: Is told lines worth reading: doubts, and the state of affairs from time to time.
        origin: Where the model came from, kept for a restart.

    Raises:
        ConfigError: A setting that can't be.
        EqffError: The model can't describe the structure at all.
    """
    folder = Path(folder).expanduser()
    check_format(settings.trajectory)
    atoms = prepare(atoms, potential, settings, report)
    folder.mkdir(parents=True, exist_ok=True)
    _describe(folder, settings, potential, origin or {})
    rng = np.random.default_rng(settings.seed)
    limits = Limits.of(settings, _shortest_in_training(potential))
    with Recorder(folder, settings.trajectory, log_columns(atoms, settings)) as recorder:
        trouble = _begin(atoms, settings, limits, rng, folder)
        degrees = _degrees(atoms, settings)
        stepper = build_stepper(atoms, settings, degrees, rng)
        run = Run(settings, folder, atoms, rng, degrees, stepper, recorder, limits, fingerprint(potential))
        run.doubts = DoubtLog(folder, settings) if potential.uncertainties else None
        if not trouble:
            run.row()
            recorder.frame(atoms)
            if run.doubts is not None:
                run.doubts.step(0, atoms)
            run.save()
        return finish(run, advance(run, progress, report, trouble))


def resume_simulation(
    potential: Potential,
    folder: str | Path,
    changes: Mapping[str, Any] | None = None,
    *,
    progress: Progress | None = None,
    report: Report = _silent,
) -> SimulationResult:
    """Goes on with a stopped run from its last saved state, as if it had never been stopped.

    Frames and rows after the saved state are cut away and made again; on one processor and with the same libraries they
    are the same to the bit.

    Args:
        potential: The same model.
        folder: Of the run.
        changes: Settings among `CHANGEABLE`, such as more steps.
        progress: As in `run_simulation`.
        report: The same.

    Raises:
        ConfigError: A change that would lead elsewhere.
        ModelError: There is nothing to resume, the model is another one, or files were changed.
    """
    folder = Path(folder).expanduser()
    check_changes(changes or {})
    saved = load_state(folder)
    settings = replace(stored_settings(folder), **changes or {})
    if saved.model != fingerprint(potential):
        raise ModelError(
            f"'{folder}' was run with other weights (or another precision) than this model's: it would not go on the "
            "same way. Give the same model, or start a new run from the last frame with velocities=structure."
        )
    if saved.step > settings.steps:
        raise ConfigError(f"'{folder}' is at step {saved.step}; steps={settings.steps} would go back. Give more.")
    if saved.ase_version != ase.__version__:
        report(f"Mind: the run was started with ASE {saved.ase_version}, this is {ase.__version__}.")
    atoms, stepper, rng = _restored(folder, potential, settings, saved)
    require_uncertainty(potential, settings)
    limits = Limits.of(settings, _shortest_in_training(potential))
    report(f"Going on from step {saved.step} of {settings.steps}.")
    (folder / LAST_GOOD).unlink(missing_ok=True)  # if the run stops again, it is written again
    columns = log_columns(atoms, settings)
    with Recorder(folder, settings.trajectory, columns, after=saved.marks) as recorder:
        run = Run(settings, folder, atoms, rng, saved.degrees, stepper, recorder, limits, saved.model, saved.step)
        run.doubts = DoubtLog(folder, settings, after=saved.step) if potential.uncertainties else None
        return finish(run, advance(run, progress, report, ""))


def check_changes(names: Iterable[str]) -> None:
    """Checks that a resumed run may have other values of these settings.

    Raises:
        ConfigError: It would not go on the same way.
    """
    for name in names:
        if name not in CHANGEABLE:
            raise ConfigError(
                f"'{name}' can't be changed on resume: the run would not go on the same way. Changeable are "
                f"{', '.join(CHANGEABLE)}. For anything else, start a new run from the last frame: "
                "structure=TRAJECTORY@-1 velocities=structure."
            )


def stored_settings(folder: str | Path) -> SimulationSettings:
    """The settings of a run, from its folder."""
    return checked_settings(SimulationSettings, stored_config(folder)["settings"], str(folder))


def stored_config(folder: str | Path) -> dict[str, Any]:
    """What a run's folder says about it: ``settings``, and ``origin`` of the model.

    Raises:
        ModelError: It is no folder of a simulation.
    """
    path = Path(folder).expanduser() / CONFIG_FILE
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"'{folder}' can't be resumed: {path} can't be read ({error}). Give the folder of a stopped simulation."
        ) from error


def _restored(
    folder: Path, potential: Potential, settings: SimulationSettings, saved: SavedState
) -> tuple[Atoms, Stepper, np.random.Generator]:
    """Atoms, stepper and noise as they were in a saved state."""
    atoms = cast(Atoms, read(folder / START_FILE))
    for name in FRAGMENTS:
        if name in atoms.info:
            atoms.set_array(name, atoms.info.pop(name))
    attach_calculator(atoms, potential, settings)
    hold(atoms, settings)
    saved.place(atoms)
    rng = np.random.default_rng(settings.seed)
    stepper = build_stepper(atoms, settings, saved.degrees, rng)
    if saved.step:
        stepper.part.step()  # makes what ASE makes at the first step; all of it is replaced in the next two lines
    saved.place(atoms)
    saved.restore(stepper.part, rng)
    saved.restore_solves(atoms.calc.solves)
    return atoms, stepper, rng


def _describe(folder: Path, settings: SimulationSettings, potential: Potential, origin: Mapping[str, Any]) -> None:
    about = {"settings": asdict(settings), "origin": dict(origin), "terms": list(potential.terms)}
    write_json(folder / CONFIG_FILE, about | {"eqff_version": eqff_version(), "ase_version": ase.__version__})
    # of an earlier run in the same folder
    for name in (STATE_FILE, LAST_GOOD, RESULT_FILE, doubts.LOG, doubts.FRAMES):
        (folder / name).unlink(missing_ok=True)


def _begin(atoms: Atoms, settings: SimulationSettings, limits: Limits, rng: np.random.Generator, folder: Path) -> str:
    """Relaxes first if asked to, and sets the momenta; what went wrong, else an empty text."""
    try:
        if settings.relax_steps and settings.ensemble != "relax":
            optimizer = LBFGS(atoms, logfile=None)  # type: ignore[arg-type]
            optimizer.run(fmax=settings.relax_fmax, steps=settings.relax_steps)
        trouble = limits.trouble(atoms, 0.0)
    except EqffError as error:
        trouble = str(error)
    if settings.ensemble == "relax":
        atoms.set_momenta(np.zeros((len(atoms), 3)))
    elif settings.velocities == "new":
        keeps_rotation = choose_integrator(settings).keeps_rotation
        give_velocities(atoms, settings.temperature, rng, keeps_rotation=keeps_rotation)
    bare = atoms.copy()
    bare.set_constraint()
    # ASE's trajectories hold no arrays of other names than its own
    bare.info |= {name: bare.arrays[name] for name in FRAGMENTS if name in bare.arrays}
    write(folder / START_FILE, bare)
    return f"Stopped at the start: {trouble}" if trouble else ""


def _degrees(atoms: Atoms, settings: SimulationSettings) -> int:
    keeps_rotation = settings.ensemble != "relax" and choose_integrator(settings).keeps_rotation
    return degrees_of_freedom(atoms, keeps_rotation=keeps_rotation)


def _shortest_in_training(potential: Potential) -> float | None:
    training = potential.metadata.training if potential.metadata else {}
    value = training.get("shortest_distance")
    return float(value) if isinstance(value, (int, float)) else None
