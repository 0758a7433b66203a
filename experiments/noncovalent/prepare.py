"""Files of the non-covalent interactions atlas, ready for run.sh: python prepare.py DATA_FOLDER OUTPUT_FOLDER.

A pair's label is its interaction energy; so that a model's energies are interaction energies too, each of the two
molecules, alone and as it is in the pair, is a frame of energy zero. All distances of a pair, and its molecules, lie in
one of the files.
"""

from __future__ import annotations

import gzip
import io
import re
import sys
from collections import defaultdict
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

FILES = ("HB375x10", "IHB100x10", "D442x10")
ELEMENTS = {"H", "C", "N", "O", "F", "S", "Cl", "Ar"}
"""Pairs with other elements are left out: too few of each to learn from."""
SHARES = {"val": 0.08, "test": 0.2}


def read(path: Path) -> list[Atoms]:
    """All frames; names of systems as they stand in the file, where they look like numbers."""
    with gzip.open(path, "rt") as file:
        text = file.read()
    frames = ase.io.read(io.StringIO(text), ":", format="extxyz")
    for frame, name in zip(frames, re.findall(r" system=(\S+)", text), strict=True):
        frame.info["system"] = f"{path.name.split('x10')[0]}-{name.rpartition('_')[0]}"
    return frames


def labelled(atoms: Atoms, energy: float, charge: int, pair: Atoms, kind: str) -> Atoms:
    """A frame with what eqff reads, and what the tables need."""
    frame = Atoms(atoms.numbers, atoms.positions)
    frame.info = {"total_charge": int(charge), "multiplicity": 1, "group": pair.info["system"], "kind": kind}
    frame.info |= {"scaling": float(pair.info["scaling"])}
    if kind == "pair":
        frame.info |= {key: float(pair.info[key]) for key in pair.info if key.startswith("sapt_")}
        frame.info["set"] = pair.info["system"].split("-")[0]
    frame.arrays["fragment"] = atoms.arrays["fragment"]
    frame.calc = SinglePointCalculator(frame, energy=energy)
    return frame


def with_molecules(curve: list[Atoms]) -> list[Atoms]:
    """A pair at all its distances, and its molecules (frozen, so that one distance has them all)."""
    frames = [labelled(pair, pair.info["interaction_energy"], pair.info["charge"], pair, "pair") for pair in curve]
    first = curve[0]
    for index, charge in enumerate((first.info["charge_a"], first.info["charge_b"])):
        frames.append(labelled(first[first.arrays["fragment"] == index], 0.0, charge, first, "molecule"))
    return frames


def main(folder: str, output: str, seed: int = 0) -> None:
    """Writes OUTPUT_FOLDER/{train,val,test}.extxyz."""
    curves: dict[str, list[Atoms]] = defaultdict(list)
    for file in FILES:
        for frame in read(Path(folder) / f"{file}.extxyz.gz"):
            curves[frame.info["system"]].append(frame)
    kept = {name: curve for name, curve in curves.items() if set(curve[0].symbols) <= ELEMENTS}
    print(f"{len(curves) - len(kept)} of {len(curves)} pairs left out for their elements")
    names = np.random.default_rng(seed).permutation(sorted(kept)).tolist()
    counts = {part: round(share * len(names)) for part, share in SHARES.items()}
    parts = {"val": names[: counts["val"]], "test": names[counts["val"] : sum(counts.values())]}
    parts["train"] = names[sum(counts.values()) :]
    target = Path(output)
    target.mkdir(parents=True, exist_ok=True)
    for part, chosen in parts.items():
        frames = [frame for name in sorted(chosen) for frame in with_molecules(kept[name])]
        ase.io.write(target / f"{part}.extxyz", frames, format="extxyz")
        print(f"{part}: {len(chosen)} pairs, {len(frames)} frames")


if __name__ == "__main__":
    main(*sys.argv[1:3])
