"""Errors on the test frames of `wb97x` by what the 40 training frames hold: usage: groups.py OUTPUT_FOLDER

A molecule is "seen" if its composition, total charge and multiplicity are among the training frames of a run.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

from eqff.data.atomic_data import AtomicData
from eqff.data.reading import read_frames

NEW = {3, 11}
"""Li and Na."""
VARIANTS = {"scratch": "from scratch", "full": "all weights", "readouts": "readouts only"}
GROUPS = {
    "molecule, charge and spin among the 40 frames": lambda frame, seen: state(frame) in seen,
    "not among them": lambda frame, seen: state(frame) not in seen,
    "elements that eqff-ions knows": lambda frame, _: not NEW & set(frame.numbers.tolist()),
    "with Li or Na": lambda frame, _: bool(NEW & set(frame.numbers.tolist())),
}


def state(frame: AtomicData) -> tuple:
    """Composition, total charge and multiplicity."""
    return tuple(sorted(frame.numbers.tolist())), int(frame.total_charge), int(frame.multiplicity)


def collect(folder: Path) -> dict[tuple[str, str], list[tuple[float, float]]]:
    """(Variant, group) to the errors of energies (meV/atom) and forces (meV/Å) of each seed."""
    found = defaultdict(list)
    for path in sorted(folder.glob("*/result.json")):
        split = json.loads((path.parent / "splits.json").read_text())
        training = read_frames(split["source"])
        seen = {state(training[index]) for index in split["train"]}
        own = path.parent / "evaluation" / "new_predictions.extxyz"
        labelled = read_frames(own, keys={"predicted_energy": None, "predicted_forces": None})
        predicted = read_frames(own, keys={"predicted_energy": "energy", "predicted_forces": "forces"})
        errors = [
            (abs(float(a.energy - b.energy)) / len(a.numbers), (a.forces - b.forces).abs().numpy().ravel())
            for a, b in zip(labelled, predicted, strict=True)
        ]
        for title, belongs in GROUPS.items():
            chosen = [error for frame, error in zip(labelled, errors, strict=True) if belongs(frame, seen)]
            energies, forces = zip(*chosen, strict=True)
            variant = path.parent.name.rpartition("-")[0]
            found[variant, title].append((1e3 * np.mean(energies), 1e3 * np.concatenate(forces).mean()))
    return found


def main(output: Path) -> None:
    """A table in Markdown."""
    found = collect(output / "wb97x")
    heads = [f"{unit}: {title}" for unit in ("meV/atom", "meV/Å") for title in VARIANTS.values()]
    print(f"| | {' | '.join(heads)} |\n|---|{'---:|' * len(heads)}")
    for title in GROUPS:
        means = [np.mean(found[variant, title], axis=0) for variant in VARIANTS]
        print(f"| {title} | {' | '.join(f'{mean[column]:.0f}' for column in (0, 1) for mean in means)} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
