"""Pairs of molecules as frames with fragments: python prepare.py SUPERMOLECULAR_FOLDER OUTPUT_FOLDER.

From the files of experiments/noncovalent/prepare.py, so that both studies have the same pairs in training, validation
and test. Charges of fragments are those of the molecules there; delta HF is counted as induction.
"""

from __future__ import annotations

import sys
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms

KEPT = ("total_charge", "multiplicity", "group", "set", "scaling")


def with_fragments(pair: Atoms, charges: dict[int, int]) -> Atoms:
    """The frame of a pair; charges in e by number of the fragment."""
    number = pair.arrays["fragment"]
    frame = Atoms(pair.numbers, pair.positions)
    frame.info = {key: pair.info[key] for key in KEPT} | {"interaction_energy": pair.get_potential_energy()}
    found = {key: float(pair.info.get(key, np.nan)) for key in ("sapt_elst", "sapt_exch", "sapt_ind", "sapt_disp")}
    found["sapt_ind"] += float(pair.info.get("sapt_dhf", np.nan))
    frame.info |= {key: value for key, value in found.items() if np.isfinite(value)}
    frame.arrays["fragment"] = number
    frame.arrays["fragment_charge"] = np.array([float(charges[n]) for n in number])
    return frame


def main(source: str, output: str) -> None:
    """Writes OUTPUT_FOLDER/{train,val,test}.extxyz."""
    target = Path(output)
    target.mkdir(parents=True, exist_ok=True)
    for part in ("train", "val", "test"):
        frames = ase.io.read(Path(source) / f"{part}.extxyz", ":")
        charges: dict[str, dict[int, int]] = {}
        for frame in frames:
            if frame.info["kind"] == "molecule":
                number = int(frame.arrays["fragment"][0])
                charges.setdefault(frame.info["group"], {})[number] = frame.info["total_charge"]
        pairs = [with_fragments(f, charges[f.info["group"]]) for f in frames if f.info["kind"] == "pair"]
        ase.io.write(target / f"{part}.extxyz", pairs, format="extxyz")
        print(f"{part}: {len(charges)} pairs of molecules, {len(pairs)} frames")


if __name__ == "__main__":
    main(*sys.argv[1:3])
