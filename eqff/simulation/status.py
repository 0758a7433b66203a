"""A line from time to time that says how a run is doing, for terminals that nobody watches and for log files."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from eqff.simulation.settings import SimulationSettings

_EVERY = 30.0  # s


class Status:
    """Tells steps, temperature or force, speed and time left.

    Args:
        settings: Of the run.
        first: Steps that were done before.
        report: Gets the lines.
    """

    def __init__(self, settings: SimulationSettings, first: int, report: Callable[[str], None]):
        self._settings, self._first, self._report = settings, first, report
        self._started = self._last = time.perf_counter()

    def __call__(self, step: int, row: Mapping[str, float]) -> None:
        """Tells of a row of the log, if the last line is some time ago."""
        now = time.perf_counter()
        if now - self._last < _EVERY:
            return
        self._last = now
        speed = (step - self._first) / (now - self._started)
        parts = [f"step {step} of {self._settings.steps}"]
        if self._settings.ensemble == "relax":
            parts += [f"{row['potential_energy_eV']:.4f} eV", f"largest force {row['max_force_eV_per_A']:.4f} eV/Å"]
        else:
            parts += [f"{row['time_fs'] / 1000:.3f} ps", f"{row['temperature_K']:.0f} K"]
        parts += [f"{speed:.1f} steps/s", f"{(self._settings.steps - step) / speed / 60:.1f} min left"]
        self._report("  ".join(parts))
