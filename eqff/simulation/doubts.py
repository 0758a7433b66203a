"""How uncertain the model was at every step of a simulation, and the frames at which it was too uncertain."""

from __future__ import annotations

import csv
from io import StringIO
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import read, write

from eqff.checkpoints.atomic import replacing
from eqff.simulation.settings import SimulationSettings

LOG, FRAMES = "uncertainty.csv", "uncertain.extxyz"
COLUMNS = ("step", "energy_uncertainty_eV", "max_force_uncertainty_eV_per_A", "atom", "flagged")


class DoubtLog:
    """Writes a row every step, whatever ``log_every`` says, and flags those above ``flag_uncertainty``.

    Of consecutive flagged steps at most one in ``trajectory_every`` goes into the file of frames: neighbours are
    alike, and the file is meant to be chosen from (`eqff.active`).

    Args:
        folder: Of the run.
        settings: Of the run.
        after: Go on behind this step, and drop what is there beyond; None replaces older files.

    Attributes:
        flagged: Steps above the threshold so far.
        largest: The largest uncertainty of a force so far, eV/Å.
    """

    def __init__(self, folder: Path, settings: SimulationSettings, after: int | None = None):
        self._threshold, self._apart = settings.flag_uncertainty, settings.trajectory_every
        self.log, self.frames = folder / LOG, folder / FRAMES
        self.flagged, self.largest, self._last = 0, 0.0, -self._apart
        rows = [] if after is None else self._rows_until(after)
        kept = [] if after is None else self._frames_until(after)
        if kept:
            with replacing(self.frames) as temporary:
                write(temporary, kept, format="extxyz")
            self._last = int(kept[-1].info["step"])
        else:
            self.frames.unlink(missing_ok=True)
        with replacing(self.log) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([COLUMNS, *rows])
        for row in rows:
            self._count(float(row[2]), row[4] == "1")

    def step(self, number: int, atoms: Atoms) -> None:
        """Notes the uncertainties of now.

        Args:
            number: Steps done.
            atoms: With their calculator's results.
        """
        doubts = atoms.calc.results.get("forces_uncertainty")
        if doubts is None:  # the calculation itself failed
            return
        worst = int(np.argmax(doubts))
        largest, energy = float(doubts[worst]), float(atoms.calc.results["energy_uncertainty"])
        flagged = self._threshold is not None and not largest <= self._threshold
        self._count(largest, flagged)
        with self.log.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow([number, f"{energy:.6g}", f"{largest:.6g}", worst, int(flagged)])
        if flagged and number - self._last >= self._apart and np.isfinite(atoms.positions).all():
            self._last = number
            self._keep(number, largest, atoms)

    def _count(self, largest: float, flagged: bool) -> None:
        self.flagged += flagged
        self.largest = max(self.largest, largest)

    def _keep(self, number: int, largest: float, atoms: Atoms) -> None:
        """Without the model's own energies and forces: this is for labelling."""
        frame = atoms.copy()
        frame.set_constraint()
        frame.info.update({"step": number, "uncertainty": largest})
        write(self.frames, frame, format="extxyz", append=True)

    def _rows_until(self, step: int) -> list[list[str]]:
        """Whole rows of an earlier log up to a step; a row cut short by a kill is beyond it."""
        if not self.log.is_file():
            return []
        with self.log.open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))[1:]
        return [row for row in rows if len(row) == len(COLUMNS) and int(row[0]) <= step]

    def _frames_until(self, step: int) -> list[Atoms]:
        """Whole frames of an earlier file up to a step; one cut short by a kill is beyond it."""
        lines = self.frames.read_text(encoding="utf-8").splitlines(keepends=True) if self.frames.is_file() else []
        lines = [line for line in lines if line.endswith("\n")]
        if not lines:
            return []
        size = int(lines[0]) + 2  # of every frame
        whole = "".join(lines[: len(lines) // size * size])
        frames = read(StringIO(whole), index=":", format="extxyz") if whole else []
        return [frame for frame in frames if frame.info["step"] <= step]

    def summary(self) -> dict[str, float]:
        """For the result: names with units."""
        found: dict[str, float] = {"most_uncertain_force_eV_per_A": self.largest}
        return found if self._threshold is None else found | {"flagged_steps": self.flagged}

    def files(self) -> dict[str, Path]:
        """What was written, by kind."""
        return {"uncertainty": self.log} | ({"uncertain_frames": self.frames} if self.frames.is_file() else {})
