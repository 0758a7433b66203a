"""The loop: step by step, with rows, frames, saved states and a watch, until all is done or something is wrong."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import write

from eqff.errors import EqffError
from eqff.simulation.doubts import DoubtLog
from eqff.simulation.interrupts import stop_requests
from eqff.simulation.observables import observe
from eqff.simulation.recorder import Recorder
from eqff.simulation.settings import SimulationSettings
from eqff.simulation.start import Report
from eqff.simulation.state import save_state
from eqff.simulation.status import Status
from eqff.simulation.stepping import Stepper
from eqff.simulation.velocities import kinetic_temperature
from eqff.simulation.watch import Limits

Progress = Callable[[int], None]
LAST_GOOD = "last_good.extxyz"
"""The frame before the one at which a run was stopped."""


@dataclass
class Run:
    """A run between two steps.

    Attributes:
        settings: How it goes.
        folder: Of its files.
        atoms: With their calculator.
        rng: Noise of a thermostat.
        degrees: Thermal degrees of freedom.
        stepper: What moves the atoms.
        recorder: What writes rows and frames.
        limits: What it may not exceed.
        model: Fingerprint of the model.
        step: Steps done.
        doubts: Notes the model's uncertainties at every step; None for a model that has none.
    """

    settings: SimulationSettings
    folder: Path
    atoms: Atoms
    rng: np.random.Generator
    degrees: int
    stepper: Stepper
    recorder: Recorder
    limits: Limits
    model: str
    step: int = 0
    doubts: DoubtLog | None = None

    def save(self) -> None:
        """Writes the state to go on from."""
        save_state(
            self.folder,
            step=self.step,
            degrees=self.degrees,
            marks=self.recorder.marks(),
            rng=self.rng,
            atoms=self.atoms,
            part=self.stepper.part,
            solves=self.atoms.calc.solves.state(),
            model=self.model,
        )

    def kelvin(self) -> float:
        """The temperature of now."""
        return kinetic_temperature(self.atoms, self.degrees)

    def row(self) -> dict[str, float]:
        """Writes a row of the log and returns it."""
        row = observe(self.atoms, self.step, self.settings, self.stepper, self.degrees)
        self.recorder.row(row)
        return row


@dataclass(frozen=True)
class End:
    """How the steps ended.

    Attributes:
        trouble: Why the run could not go on; "" if it could.
        signal: Name of the signal that stopped it; "" if none did.
        converged: Whether a relaxation is done.
        seconds: Wall time of the steps.
        steps: How many were done here.
    """

    trouble: str = ""
    signal: str = ""
    converged: bool = False
    seconds: float = 0.0
    steps: int = 0


def advance(run: Run, progress: Progress | None, report: Report, trouble: str) -> End:
    """All steps, or those up to trouble, convergence or a signal.

    Args:
        run: Is moved.
        progress: Is told of each step.
        report: Is told how it goes, from time to time.
        trouble: What is wrong already.
    """
    settings, first, started = run.settings, run.step, time.perf_counter()
    status, saved, signal, converged = Status(settings, first, report), started, "", False
    with stop_requests() as requested:
        while not trouble:
            converged = run.stepper.finished()
            signal = requested()
            if converged or signal or run.step >= settings.steps:
                break
            trouble = _one_step(run, status)
            if progress is not None:
                progress(1)
            if not trouble and time.perf_counter() - saved >= settings.save_every:
                run.save()
                saved = time.perf_counter()
        if not trouble:
            run.save()  # before the last row of a relaxation, which is made again if the run goes on
            if not signal:
                _last_row(run)
    return End(trouble, signal, converged, time.perf_counter() - started, run.step - first)


def _one_step(run: Run, status: Status) -> str:
    """One step with its row and frame; what went wrong, else an empty text."""
    atoms, settings = run.atoms, run.settings
    good = atoms.positions.copy(), atoms.get_momenta(), atoms.cell.array.copy()
    run.step += 1
    try:
        run.stepper.step()
        kelvin = run.kelvin()
        wrong = run.limits.trouble(atoms, kelvin)
        if run.doubts is not None:
            run.doubts.step(run.step, atoms)
    except EqffError as error:  # positions that are no numbers, atoms on each other, charges without a solution
        wrong = str(error)
    if wrong:
        return _stop(run, good, wrong)
    if run.step % settings.log_every == 0:
        status(run.step, run.row())
    if run.step % settings.trajectory_every == 0:
        run.recorder.frame(atoms)
    return ""


def _stop(run: Run, good: tuple[np.ndarray, np.ndarray, np.ndarray], wrong: str) -> str:
    """Keeps the last good frame in a file of its own, and ends log and trajectory with this one; the message."""
    atoms, settings = run.atoms, run.settings
    when = f"at step {run.step}"
    when += "" if settings.ensemble == "relax" else f" ({run.step * settings.timestep:g} fs)"
    if atoms.calc.results:  # none where they could not be computed
        run.row()
        run.recorder.frame(atoms)
    last = atoms.copy()
    last.set_constraint()
    last.positions, last.cell[:] = good[0], good[2]
    last.set_momenta(good[1])
    write(run.folder / LAST_GOOD, last, format="extxyz")
    return f"Stopped {when}: {wrong} The last good frame is {run.folder / LAST_GOOD}."


def _last_row(run: Run) -> None:
    """The row and frame of a relaxation's last step, which nobody wants to miss."""
    if run.settings.ensemble != "relax" or run.step == 0:
        return
    if run.step % run.settings.log_every:
        run.row()
    if run.step % run.settings.trajectory_every:
        run.recorder.frame(run.atoms)
