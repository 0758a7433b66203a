"""The pool, the validation set and the test set of the experiment, from the ions that come with eqff.

    python prepare.py OUTPUT_FOLDER

Single molecules and ions alone (no pairs): dynamics at 300 and 600 K, samples of normal modes, distorted structures.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import numpy as np
from ase.io import write

from eqff.data.atomic_data import AtomicData
from eqff.data.atoms import to_atoms
from eqff.data.reading import read_frames

KINDS = ("md300", "md600", "modes", "distorted")
POOL = 2000
SEED = 0


def frames_of(name: str) -> list[AtomicData]:
    """The frames of a shipped file that are of one molecule."""
    return [frame for frame in read_frames(f"shipped:ions/{name}.extxyz.gz") if frame.config_type in KINDS]


def main() -> None:
    """Writes ``pool``, ``held_back`` and ``test``, and says what is in them."""
    output = Path(sys.argv[1])
    output.mkdir(parents=True, exist_ok=True)
    every = frames_of("train")
    drawn = np.sort(np.random.default_rng(SEED).choice(len(every), POOL, replace=False))
    sets = {"pool": [every[i] for i in drawn], "held_back": frames_of("val"), "test": frames_of("test")}
    for name, frames in sets.items():
        write(output / f"{name}.extxyz", [to_atoms(frame) for frame in frames])
        kinds = Counter(str(frame.config_type) for frame in frames)
        groups = len({str(frame.group) for frame in frames})
        print(f"{name}: {len(frames)} frames of {groups} species: {dict(sorted(kinds.items()))}")


if __name__ == "__main__":
    main()
