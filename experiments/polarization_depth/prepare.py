"""Training, validation and test files of one data set: python prepare.py NAME DATA_FOLDER OUTPUT_FOLDER.

NAME: water_dimers (coupled-cluster energies, dipoles and polarizabilities), ion_water (interaction energies of an ion
and a water molecule), ion_pairs (the pairs of the set that ships with eqff: energies, forces, charges, dipoles), spice
(energies, forces, dipoles and Born effective charges).
"""

from __future__ import annotations

import gzip
import io
import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms

Sets = dict[str, list[Atoms]]


def read(path: Path) -> list[Atoms]:
    """All frames of an extended XYZ file, compressed or not."""
    raw = path.read_bytes()
    text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()
    return [plain(frame) for frame in ase.io.read(io.StringIO(text), ":", format="extxyz")]


def plain(frame: Atoms) -> Atoms:
    """The frame with all labels where ASE writes them under names that eqff reads; it would call charges "charge"."""
    for name, value in (frame.calc.results if frame.calc else {}).items():
        name = {"charges": "partial_charges"}.get(name, name)
        (frame.arrays if np.shape(value)[:1] == (len(frame),) and name != "dipole" else frame.info)[name] = value
    frame.calc = None
    return frame


def split(frames: list[Atoms], val: int, test: int, train: int | None = None, seed: int = 0) -> Sets:
    """A random split with given numbers of frames."""
    order = np.random.default_rng(seed).permutation(len(frames))
    ends = {"val": (0, val), "test": (val, val + test), "train": (val + test, train and val + test + train)}
    return {name: [frames[i] for i in order[begin:end]] for name, (begin, end) in ends.items()}


def water_dimers(data: Path) -> Sets:
    """As published, validation split off."""
    folder = data / "water_response"
    sets = split(read(folder / "dimer_train.extxyz.gz"), 80, 0)
    return {"train": sets["train"], "val": sets["val"], "test": read(folder / "dimer_test.extxyz")}


def ion_water(data: Path) -> Sets:
    """Energies are interaction energies, so elements have none of their own (data.reference_energies)."""
    frames = read(data / "ion_water_eda" / "water_ion_aimd.extxyz.gz")
    for frame in frames:
        frame.info["energy"] = frame.info.pop("interaction_energy")
    return split(frames, 300, 2000, 4000)


def ion_pairs(data: Path) -> Sets:
    """Frames of two molecules of the shipped set, which are its scans."""
    folder = files("eqff") / "datasets" / "ions"
    sets = {name: read(Path(str(folder / f"{name}.extxyz.gz"))) for name in ("train", "val", "test", "test_far_pairs")}
    return {
        name.removeprefix("test_"): [frame for frame in frames if frame.info["config_type"] == "scan"]
        for name, frames in sets.items()
    }


def spice(data: Path) -> Sets:
    """Dipeptides, water clusters and small molecules together."""
    folder = data / "spice_response"
    frames = [frame for path in sorted(folder.glob("*.extxyz*")) for frame in read(path)]
    return split(frames, 30, 60)


SETS: dict[str, Callable[[Path], Sets]] = {
    "water_dimers": water_dimers,
    "ion_water": ion_water,
    "ion_pairs": ion_pairs,
    "spice": spice,
}


def main(name: str, data: str, output: str) -> None:
    """Writes OUTPUT_FOLDER/{train,val,test,...}.extxyz."""
    target = Path(output)
    target.mkdir(parents=True, exist_ok=True)
    for part, frames in SETS[name](Path(data)).items():
        ase.io.write(target / f"{part}.extxyz", frames, format="extxyz")
        print(f"{name} {part}: {len(frames)} frames")


if __name__ == "__main__":
    main(*sys.argv[1:4])
