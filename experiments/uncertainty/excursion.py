"""Where the simulations start, and at which uncertainty they are stopped.

python excursion.py start start.extxyz
python excursion.py validation OUTPUT_FOLDER
python excursion.py usual OUTPUT_FOLDER
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
from ase.io import write

from eqff.data.atoms import to_atoms
from eqff.data.reading import read_frames

GROUP = "CH3OH"


def start(path: Path) -> None:
    """The first frame of methanol in the test set: a molecule that the models were trained on."""
    frames = read_frames("shipped:ions/test.extxyz.gz", labels=())
    write(path, to_atoms(next(frame for frame in frames if frame.group == GROUP)))


def validation(folder: Path) -> float:
    """The uncertainty, eV/Å, that one in a hundred validation structures exceeds."""
    found = json.loads((folder / "ensemble" / "uncertainty.json").read_text())
    return float(found["largest_force_uncertainty"]["percentile_99_eV_per_A"])


def usual(folder: Path) -> float:
    """Twice the largest uncertainty, eV/Å, of the runs at 300 K."""
    return 2 * max(float(doubts(path).max()) for path in folder.glob("md/cold*"))


def doubts(run: Path) -> np.ndarray:
    """The largest uncertainty of a force, eV/Å, at every step of a run."""
    with (run / "uncertainty.csv").open(newline="") as file:
        return np.array([float(row["max_force_uncertainty_eV_per_A"]) for row in csv.DictReader(file)])


if __name__ == "__main__":
    task, path = sys.argv[1], Path(sys.argv[2])
    if task == "start":
        start(path)
    else:
        print(f"{ {'validation': validation, 'usual': usual}[task](path):.4f}")
