"""The settings of a simulation, with the ranges that they are checked against."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Literal, get_type_hints

from annotated_types import Ge

from eqff.data.convert import Multiplicity
from eqff.data.solves import Predictor
from eqff.errors import ConfigError
from eqff.ranges import Count, NonNegative, Positive, Size
from eqff.validation import check_value


@dataclass(frozen=True)
class SimulationSettings:
    """What is simulated, and how.

    Attributes:
        structure: A file; its first frame is taken, or the one that ``file.extxyz@5`` names.
        total_charge: e, if the file does not say.
        multiplicity: 2S+1, if the file does not say; "lowest" for the lowest that the electron count allows.
        electric_field: V/Å, three numbers: a uniform external field; None for the one that the file states, if any.
        ensemble: "nve" (velocity Verlet), "nvt", "npt", or "relax" (towards a minimum of the energy, or with a cell, of
            the enthalpy).
        steps: How many; of "relax", at most so many.
        seed: Of the first velocities and of the thermostat's noise.
        fixed_atoms: Atoms that stay where they are, from 0; not in "npt", nor with "nose_hoover".
        temperature: K; of the first velocities, and of the thermostat if there is one.
        timestep: fs.
        velocities: "new" (Maxwell-Boltzmann, at the temperature) or "structure" (those that the file has).
        thermostat: Of "nvt": "langevin", "bussi" (stochastic velocity rescaling), "nose_hoover" (a chain of three).
        friction: 1/fs, of the Langevin thermostat.
        thermostat_time: fs, of the others and of "npt".
        pressure: GPa, of "npt" and of "relax" with a cell.
        barostat_time: fs, of "npt".
        cell: What changes besides the positions. "npt": "isotropic" (also by default) or "full". "relax": "fixed" (also
            by default), "isotropic", "full", or "constant_volume" (its shape alone).
        optimizer: Of "relax".
        relax_fmax: eV/Å; a relaxation is done when no force is larger, that of "relax" with a cell counting the cell's
            too, as ASE's FrechetCellFilter scales it.
        relax_steps: At most so many steps of relaxation of the positions before molecular dynamics; 0 for none.
        skin: Å beyond the model's cutoffs within which neighbours are searched; results don't depend on it.
        warm_start: How iterative solves of charges and induced dipoles begin: None at nothing; "last", "linear",
            "quadratic", "always_stable" or "fitted" at what the last steps predict, which takes fewer iterations.
            Results change by no more than the solvers' tolerance, and a resumed run is the same to the bit either way.
        log_every: Steps between rows of the log.
        trajectory_every: Steps between frames of the trajectory.
        trajectory: Name of the trajectory file; its suffix says the format. ``.extxyz`` and ``.traj`` grow as the run
            goes; any other that ASE can write with several frames is converted at the end.
        save_every: s between saved states, from which a killed run goes on.
        max_temperature: K; above it the run is stopped. None for ten times ``temperature``, at least 3000 K.
        max_atom_energy: eV; a larger kinetic energy of any atom stops the run. None for 20 k_B times the highest
            temperature.
        max_force: eV/Å; a larger force on any atom stops the run.
        min_distance: Å; two atoms that come closer stop the run. None for half the shortest distance that the model was
            trained on, if its file says.
        max_uncertainty: eV/Å; a larger uncertainty of the force on any atom stops the run (for models that have one, as
            ensembles). None for no limit.
        flag_uncertainty: eV/Å; steps above it are flagged in ``uncertainty.csv`` and counted in the result; of
            their frames one in ``trajectory_every`` is kept in ``uncertain.extxyz``. None to flag none.
        figures: Whether figures are drawn at the end.
        allow_unseen_state: Whether to go on, with a line that says so, if the model saw no structure of this charge and
            multiplicity in training.

    Raises:
        ConfigError: A setting that can't be, by itself or with another.
    """

    structure: str
    total_charge: float | None = None
    multiplicity: Multiplicity | None = None
    electric_field: tuple[float, float, float] | None = None
    ensemble: Literal["nve", "nvt", "npt", "relax"] = "nvt"
    steps: Size = 2000
    seed: Size = 0
    fixed_atoms: tuple[Annotated[int, Ge(0)], ...] = ()
    temperature: NonNegative = 300.0
    timestep: Positive = 0.5
    velocities: Literal["new", "structure"] = "new"
    thermostat: Literal["langevin", "bussi", "nose_hoover"] = "langevin"
    friction: NonNegative = 0.01
    thermostat_time: Positive = 100.0
    pressure: float = 0.0
    barostat_time: Positive = 1000.0
    cell: Literal["fixed", "isotropic", "full", "constant_volume"] | None = None
    optimizer: Literal["lbfgs", "bfgs", "fire"] = "lbfgs"
    relax_fmax: Positive = 0.05
    relax_steps: Size = 0
    skin: NonNegative = 0.5
    warm_start: Predictor | None = None
    log_every: Count = 10
    trajectory_every: Count = 20
    trajectory: str = "trajectory.extxyz"
    save_every: NonNegative = 20.0
    max_temperature: Positive | None = None
    max_atom_energy: Positive | None = None
    max_force: Positive = 200.0
    min_distance: NonNegative | None = None
    max_uncertainty: Positive | None = None
    flag_uncertainty: Positive | None = None
    figures: bool = True
    allow_unseen_state: bool = False

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self), include_extras=True)
        for field in dataclasses.fields(self):
            check_value(getattr(self, field.name), hints[field.name], field.name)
        _check_together(self)

    @property
    def hottest(self) -> float:
        """K; the temperature at which a run is stopped."""
        return self.max_temperature or max(10 * self.temperature, 3000.0)

    @property
    def moving_cell(self) -> str:
        """What of the cell changes: "fixed", "isotropic", "full" or "constant_volume"."""
        return self.cell or _CELLS[self.ensemble][0]


_CELLS = {
    "nve": ("fixed",),
    "nvt": ("fixed",),
    "npt": ("isotropic", "full"),
    "relax": ("fixed", "isotropic", "full", "constant_volume"),
}
"""What ``cell`` can be, the default first."""


def _check_together(chosen: SimulationSettings) -> None:
    """Raises ConfigError for settings that contradict each other."""
    possible = _CELLS[chosen.ensemble]
    if chosen.moving_cell not in possible:
        raise ConfigError(
            f"cell={chosen.cell} and ensemble={chosen.ensemble} don't go together; possible: {', '.join(possible)}."
        )
    if chosen.pressure != 0 and chosen.moving_cell in ("fixed", "constant_volume"):
        raise ConfigError(
            f"pressure={chosen.pressure:g} has no effect with ensemble={chosen.ensemble} and "
            f"cell={chosen.moving_cell}: the volume is fixed. Take ensemble=npt, or ensemble=relax cell=full."
        )
    if chosen.ensemble == "npt" and chosen.fixed_atoms:
        raise ConfigError("fixed_atoms and ensemble=npt don't go together: a barostat scales all positions.")
    if chosen.fixed_atoms and chosen.ensemble == "nvt" and chosen.thermostat == "nose_hoover":
        raise ConfigError(
            "fixed_atoms and thermostat=nose_hoover don't go together: ASE's chain takes the forces on fixed atoms for "
            "motion, and would cool the others. Take thermostat=bussi or langevin."
        )
    if chosen.ensemble in ("nvt", "npt") and chosen.temperature == 0:
        raise ConfigError(f"temperature=0 and ensemble={chosen.ensemble} don't go together. Take ensemble=relax.")
