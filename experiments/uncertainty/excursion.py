"""Where the simulations start, and at which uncertainty they are stopped.

python excursion.py start start.extxyz
python excursion.py threshold ensemble/uncertainty.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from ase.io import write

from eqff.data.atoms import to_atoms
from eqff.data.reading import read_frames

GROUP = "CH3OH"


def start(path: Path) -> None:
    """The first frame of methanol in the test set: a molecule that the models were trained on."""
    frames = read_frames("shipped:ions/test.extxyz.gz", labels=())
    write(path, to_atoms(next(frame for frame in frames if frame.group == GROUP)))


def threshold(path: Path) -> None:
    """The uncertainty, eV/Å, that one in a hundred validation structures exceeds."""
    print(f"{json.loads(path.read_text())['largest_force_uncertainty']['percentile_99_eV_per_A']:.4f}")


if __name__ == "__main__":
    {"start": start, "threshold": threshold}[sys.argv[1]](Path(sys.argv[2]))
