"""What a molecular dynamics writes while it runs: a log of energies, and the trajectory."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import numpy as np
from ase import Atoms
from ase.io import write
from ase.io.trajectory import Trajectory

from eqff.errors import ConfigError
from eqff.interfaces.ase import TERMS

FrameWriter = Callable[[Path, Atoms], None]


def _append_extxyz(path: Path, atoms: Atoms) -> None:
    write(path, atoms, format="extxyz", append=True)


def _append_traj(path: Path, atoms: Atoms) -> None:
    with Trajectory(path, "a", atoms) as file:
        file.write()


TRAJECTORY_FORMATS: dict[str, FrameWriter] = {".extxyz": _append_extxyz, ".xyz": _append_extxyz, ".traj": _append_traj}


class Recorder:
    """Writes rows and frames as they come, so that a run that dies leaves what it had.

    Args:
        folder: Is made; older files of the same names are replaced.
        trajectory: File name, its suffix says the format.
        terms: Names of the model's energy terms.

    Attributes:
        log: Path of the CSV file; units are in its column names.
        trajectory: Path of the trajectory.

    Raises:
        ConfigError: A trajectory format that there is no writer for.
    """

    def __init__(self, folder: Path, trajectory: str, terms: tuple[str, ...]):
        self.log, self.trajectory = folder / "log.csv", folder / trajectory
        if self.trajectory.suffix not in TRAJECTORY_FORMATS:
            known = ", ".join(TRAJECTORY_FORMATS)
            raise ConfigError(f"trajectory: '{trajectory}' should end in one of {known}.")
        self._write_frame = TRAJECTORY_FORMATS[self.trajectory.suffix]
        self._terms = terms
        self._columns = [
            "step",
            "time_fs",
            "total_energy_eV",
            "potential_energy_eV",
            "kinetic_energy_eV",
            "temperature_K",
            *(f"energy_{name}_eV" for name in terms),
        ]
        self._rows: list[list[float]] = []
        folder.mkdir(parents=True, exist_ok=True)
        self.trajectory.unlink(missing_ok=True)
        self._file = self.log.open("w", newline="", encoding="utf-8")
        self._csv = csv.writer(self._file)
        self._csv.writerow(self._columns)

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    def row(self, step: int, time: float, atoms: Atoms, temperature: float) -> None:
        """One row of the log; time in fs, temperature in K."""
        potential, kinetic = atoms.get_potential_energy(), atoms.get_kinetic_energy()
        terms = atoms.calc.get_property(TERMS, atoms)
        row = [step, time, potential + kinetic, potential, kinetic, temperature]
        row += [terms[name] for name in self._terms]
        self._rows.append(row)
        self._csv.writerow([step, f"{time:.6g}", *(f"{value:.9f}" for value in row[2:])])
        self._file.flush()

    def frame(self, atoms: Atoms) -> None:
        """One frame of the trajectory, with energy, forces and momenta."""
        self._write_frame(self.trajectory, atoms)

    def columns(self) -> dict[str, np.ndarray]:
        """The log so far, by column."""
        table = np.asarray(self._rows, dtype=float).reshape(-1, len(self._columns))
        return dict(zip(self._columns, table.T, strict=True))
