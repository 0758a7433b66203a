"""The settings of a molecular dynamics."""

from __future__ import annotations

from dataclasses import dataclass

from eqff.data.convert import Multiplicity
from eqff.errors import ConfigError


@dataclass(frozen=True)
class SimulationSettings:
    """What is simulated, and how.

    Attributes:
        structure: A file; its first frame is taken, or the one that ``file.extxyz@5`` names.
        total_charge: e, if the file does not say.
        multiplicity: 2S+1, if the file does not say; "lowest" for the lowest that the electron count allows.
        ensemble: "nve" (velocity Verlet) or "nvt" (Langevin).
        temperature: K; of the first velocities, and of the thermostat if there is one.
        timestep: fs.
        steps: How many.
        friction: 1/fs, of the Langevin thermostat.
        seed: Of the first velocities and of the thermostat's noise.
        relax_steps: At most so many steps of relaxation before the first velocities; 0 for none.
        relax_fmax: eV/Å; below it the relaxation is done.
        log_every: Steps between rows of the log.
        trajectory_every: Steps between frames of the trajectory.
        trajectory: Name of the trajectory file, ``.extxyz`` or ``.traj``.
        max_temperature: K; above it the run is stopped. None for ten times ``temperature``, at least 3000 K.
        max_force: eV/Å; a larger force on any atom stops the run.

    Raises:
        ConfigError: A number that can't be.
    """

    structure: str
    total_charge: float | None = None
    multiplicity: Multiplicity | None = None
    ensemble: str = "nvt"
    temperature: float = 300.0
    timestep: float = 0.5
    steps: int = 2000
    friction: float = 0.01
    seed: int = 0
    relax_steps: int = 0
    relax_fmax: float = 0.05
    log_every: int = 10
    trajectory_every: int = 20
    trajectory: str = "trajectory.extxyz"
    max_temperature: float | None = None
    max_force: float = 200.0

    def __post_init__(self) -> None:
        for name in ("timestep", "log_every", "trajectory_every", "max_force", "relax_fmax"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} is {getattr(self, name)}: it must be more than zero.")
        for name in ("temperature", "steps", "friction", "relax_steps"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} is {getattr(self, name)}: it can't be negative.")

    @property
    def hottest(self) -> float:
        """K; the temperature at which a run is stopped."""
        return self.max_temperature or max(10 * self.temperature, 3000.0)
