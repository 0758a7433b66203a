"""The molecules of qm7b_response in a random order, ready for run.sh: python prepare.py DATA_FOLDER OUTPUT_FOLDER.

The first molecules of the order have every element among them, so that each training set, which takes so many from its
beginning, covers them; the last hundred validate.
"""

from __future__ import annotations

import gzip
import io
import sys
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms

VALIDATION = 100


def read(path: Path) -> list[Atoms]:
    """All frames of an extended XYZ file, compressed or not."""
    raw = path.read_bytes()
    return ase.io.read(io.StringIO((gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()), ":", "extxyz")


def ordered(frames: list[Atoms], seed: int) -> list[Atoms]:
    """Random, but for a first molecule of each element."""
    order = np.random.default_rng(seed).permutation(len(frames)).tolist()
    known: set[str] = set()
    first = []
    for index in order:
        if not known.issuperset(frames[index].symbols):
            known.update(frames[index].symbols)
            first.append(index)
    return [frames[i] for i in (*first, *(i for i in order if i not in first))]


def main(data: str, output: str, seed: int = 0) -> None:
    """Writes OUTPUT_FOLDER/{train,val,test}.extxyz."""
    target = Path(output)
    target.mkdir(parents=True, exist_ok=True)
    (file,) = Path(data).glob("train.extxyz*")
    frames = ordered(read(file), seed)
    sets = {"train": frames[:-VALIDATION], "val": frames[-VALIDATION:], "test": read(Path(data) / "test.extxyz")}
    for name, chosen in sets.items():
        ase.io.write(target / f"{name}.extxyz", chosen, format="extxyz")
        print(f"{name}: {len(chosen)} molecules")


if __name__ == "__main__":
    main(*sys.argv[1:3])
