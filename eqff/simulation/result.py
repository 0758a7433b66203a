"""What a simulation leaves: its numbers, its table, its files."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from eqff.simulation.analysis import drift, mean_with_error, radial_distributions
from eqff.simulation.ensembles import choose_integrator
from eqff.simulation.figures import cell_course, dynamics_figures, radial_distribution, relaxation_course
from eqff.simulation.recorder import Recorder
from eqff.simulation.settings import SimulationSettings
from eqff.simulation.trajectory import frames_of
from eqff.tracking.plots import save_figure

_FRAMES_OF_RDF = 200


@dataclass(frozen=True)
class SimulationResult:
    """What a simulation left.

    Attributes:
        completed: Whether all was done that was asked for.
        message: One sentence: that all went well, or why it was stopped.
        steps: Steps done, those before a restart included.
        simulated: fs; 0 for a relaxation.
        averages: Drift, means and their uncertainties by name, units in the names; what has no meaning is left out.
        seconds: Wall time of the steps since the start or restart.
        steps_per_second: Since the start or restart.
        searches_per_step: How often neighbours were searched, in share of the calculations.
        interrupted: Whether a signal stopped it.
        log: Column to values, as in the log file.
        files: What was written, by kind.
    """

    completed: bool
    message: str
    steps: int
    simulated: float
    averages: dict[str, float]
    seconds: float
    steps_per_second: float
    searches_per_step: float
    interrupted: bool
    log: dict[str, np.ndarray]
    files: dict[str, Path] = field(default_factory=dict)

    @property
    def drift(self) -> float | None:
        """Of the conserved energy, meV/atom/ps, by a linear fit; None if there is no such energy."""
        return self.averages.get("drift_meV_per_atom_per_ps")

    @property
    def mean_temperature(self) -> float | None:
        """K; None for a relaxation."""
        return self.averages.get("mean_temperature_K")

    def to_dict(self) -> dict[str, Any]:
        """The numbers with their units in their names, for JSON and reports; what has no meaning here is left out."""
        head = {"completed": self.completed, "message": self.message, "steps": self.steps}
        time = {"simulated_ps": self.simulated / 1000} if self.simulated else {}
        speed = {"steps_per_second": self.steps_per_second, "neighbour_searches_per_step": self.searches_per_step}
        stopped = {"interrupted": True} if self.interrupted else {}
        return head | stopped | time | self.averages | (speed if self.steps_per_second else {})


def averages(log: dict[str, np.ndarray], settings: SimulationSettings, num_atoms: int) -> dict[str, float]:
    """Drift, means and uncertainties of a log, by name."""
    if not len(log["step"]):
        return {}
    if settings.ensemble == "relax":
        last = {name: float(values[-1]) for name, values in log.items() if name in _LAST}
        return {f"final_{name}": value for name, value in last.items()}
    found: dict[str, float | None] = {}
    if np.isfinite(log["conserved_energy_eV"]).all():
        line = drift(log["time_fs"], log["conserved_energy_eV"], num_atoms)
        found["drift_meV_per_atom_per_ps"] = line.slope
        found["drift_uncertainty_meV_per_atom_per_ps"] = line.error
        found["total_energy_fluctuation_meV_per_atom"] = line.fluctuation
    means = ("temperature_K", "pressure_GPa", *(["volume_A3"] if settings.moving_cell != "fixed" else []))
    for name in means:
        if name in log:
            quantity, unit = name.split("_")
            found[f"mean_{name}"], found[f"mean_{quantity}_uncertainty_{unit}"] = mean_with_error(log[name])
    return {name: value for name, value in found.items() if value is not None}


_LAST = ("potential_energy_eV", "max_force_eV_per_A", "volume_A3", "pressure_GPa")


def figures(
    log: dict[str, np.ndarray], settings: SimulationSettings, num_atoms: int, recorder: Recorder
) -> dict[str, Path]:
    """All figures of a run, by kind."""
    folder = recorder.log.parent
    if not len(log["step"]):
        return {}
    moving = settings.moving_cell != "fixed"
    if settings.ensemble == "relax":
        files = {"relaxation": save_figure(relaxation_course(log, settings.relax_fmax), folder / "relaxation.png")}
    else:
        held = settings.temperature if choose_integrator(settings).thermostat else None
        files = dynamics_figures(log, num_atoms, held, folder)
        later = _later_frames(recorder)
        if later and num_atoms > 1:
            found = radial_distributions(later)
            if found.pairs:
                path = folder / "radial_distribution.png"
                files["radial_distribution"] = save_figure(radial_distribution(found), path)
    if moving and "volume_A3" in log:
        target = None if settings.moving_cell == "constant_volume" else settings.pressure
        files["cell"] = save_figure(cell_course(log, target), folder / "cell.png")
    return files


def _later_frames(recorder: Recorder) -> list[Any]:
    """Frames of the second half of a run, at most some hundred of them."""
    count = sum(1 for _ in frames_of(recorder.grown))
    every = max(1, count // 2 // _FRAMES_OF_RDF)
    return list(islice(frames_of(recorder.grown), count // 2, None, every))
