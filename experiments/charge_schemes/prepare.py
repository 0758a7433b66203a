"""Training, validation and test files of one data set for run.sh: python prepare.py NAME DATA_FOLDER OUTPUT_FOLDER.

Frames that their authors or keepers flag as doubtful are left out and counted; nothing else is changed but what is
said below for each set.
"""

from __future__ import annotations

import gzip
import io
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import ase.io
from ase import Atoms

NEAR = (0, 1, 2, 4, 5)
"""Of the distances of a dimer, in order, those of the training set."""
BETWEEN = (3,)
"""Those of validation; the rest, all farther away, are the test."""


def read(path: Path) -> list[Atoms]:
    """All frames of an extended XYZ file, compressed or not."""
    opened = gzip.open(path, "rt") if path.suffix == ".gz" else path.open(encoding="utf-8")
    with opened as file:
        frames = ase.io.read(io.StringIO(file.read()), ":", format="extxyz")
    for frame in frames:
        if frame.calc and "charges" in frame.calc.results:  # which ASE would write as "charge"
            frame.set_array("partial_charges", frame.calc.results.pop("charges"))
    return frames


def ag3_ions(folder: Path) -> dict[str, list[Atoms]]:
    """Ag3+ and Ag3-; frames on another SCF solution than their neighbours are left out."""
    sets = {}
    for name, file in (("train", "train.extxyz.gz"), ("test", "test.extxyz")):
        frames = read(folder / file)
        sets[name] = [frame for frame in frames if not frame.info.pop("suspect_scf")]
        print(f"ag3_ions {name}: {len(frames) - len(sets[name])} of {len(frames)} frames left out (suspect_scf)")
    return sets


def charged_dimers(folder: Path) -> dict[str, list[Atoms]]:
    """Six dimers at ten distances: five near ones for training, the four farthest for the test.

    The cell of 30 Å is dropped: the molecules stand alone.
    """
    curves: dict[str, list[Atoms]] = defaultdict(list)
    for frame in read(folder / "train.extxyz"):
        frame.pbc, frame.cell = False, None
        curves[frame.info["label"]].append(frame)
    sets: dict[str, list[Atoms]] = {"train": [], "val": [], "far": []}
    for curve in curves.values():
        curve.sort(key=lambda frame: frame.info["distance"])
        for index, frame in enumerate(curve):
            sets["train" if index in NEAR else "val" if index in BETWEEN else "far"].append(frame)
    return sets


def published(folder: Path) -> dict[str, list[Atoms]]:
    """A training and a test file as they are."""
    files = {path.name.split(".")[0]: path for path in sorted(folder.glob("*.extxyz*"))}
    return {name: read(files[name]) for name in ("train", "test")}


SETS: dict[str, Callable[[Path], dict[str, list[Atoms]]]] = {
    "ag3_ions": ag3_ions,
    "charged_dimers": charged_dimers,
    "hdnnp4g_carbon_chain": published,
    "carbene_spin": published,
}


def main(name: str, folder: str, output: str) -> None:
    """Writes OUTPUT_FOLDER/{train,val,test,...}.extxyz."""
    target = Path(output)
    target.mkdir(parents=True, exist_ok=True)
    for part, frames in SETS[name](Path(folder)).items():
        ase.io.write(target / f"{part}.extxyz", frames, format="extxyz")


if __name__ == "__main__":
    main(*sys.argv[1:4])
