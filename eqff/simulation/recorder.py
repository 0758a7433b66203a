"""What a simulation writes while it runs: the log, and the trajectory."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
from ase import Atoms
from ase.constraints import FixCom

from eqff.simulation.trajectory import convert, cut_file, open_trajectory


@dataclass(frozen=True)
class Marks:
    """How long the files were when a state was saved.

    Attributes:
        log: Bytes.
        trajectory: As the trajectory's format counts.
    """

    log: int
    trajectory: int


class Recorder:
    """Writes rows and frames as they come, so that a run that dies leaves what it had.

    Args:
        folder: Is made.
        trajectory: File name, its suffix says the format.
        columns: Of the log, units in their names.
        after: Go on behind these marks, and cut away what is there beyond; None replaces older files.

    Attributes:
        log: Path of the CSV file.
        trajectory: Path of the trajectory that the user asked for.

    Raises:
        ConfigError: A trajectory format that frames can't be written in.
        ModelError: Files are shorter than their marks.
    """

    def __init__(self, folder: Path, trajectory: str, columns: Sequence[str], after: Marks | None = None):
        self.log, self.trajectory = folder / "log.csv", folder / trajectory
        self._frames = open_trajectory(self.trajectory)
        self._columns = list(columns)
        folder.mkdir(parents=True, exist_ok=True)
        if after is None:
            self._frames.path.unlink(missing_ok=True)
        else:
            self._frames.cut(after.trajectory)
            cut_file(self.log, after.log)
        self._file = self.log.open("w" if after is None else "a", newline="", encoding="utf-8")
        self._csv = csv.writer(self._file)
        if after is None:
            self._csv.writerow(self._columns)

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    @property
    def grown(self) -> Path:
        """The trajectory in the format that it grew in."""
        return self._frames.path

    def row(self, values: dict[str, float]) -> None:
        """One row of the log; what a column has no value for stays empty."""
        self._csv.writerow([_text(name, values.get(name)) for name in self._columns])
        self._file.flush()

    def frame(self, atoms: Atoms) -> None:
        """One frame of the trajectory, with energy, forces and momenta."""
        frame = atoms.copy()
        frame.calc = atoms.calc
        # the thermostat's own constraint is no property of the structure, and ASE can't repeat cells that have it
        frame.set_constraint([each for each in atoms.constraints if not isinstance(each, FixCom)])
        self._frames.append(frame)

    def marks(self) -> Marks:
        """Where log and trajectory end now."""
        self._file.flush()
        return Marks(self.log.stat().st_size, self._frames.mark())

    def columns(self) -> dict[str, np.ndarray]:
        """The log so far, by column, NaN where there is nothing."""
        with self.log.open(newline="", encoding="utf-8") as file:
            rows = [[float(cell) if cell else np.nan for cell in row] for row in list(csv.reader(file))[1:]]
        table = np.asarray(rows, dtype=float).reshape(-1, len(self._columns))
        return dict(zip(self._columns, table.T, strict=True))

    def finish(self) -> None:
        """Writes the trajectory in a format that could not grow."""
        convert(self.grown, self.trajectory)


def _text(column: str, value: float | None) -> str:
    if value is None:
        return ""
    if column == "step":
        return str(int(value))
    return f"{value:.12g}" if column == "time_fs" else f"{value:.9f}"
