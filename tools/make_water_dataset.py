"""Make the shipped data set of water molecules and pairs with Wannier centroids.

    python tools/make_water_dataset.py --output eqff/datasets/water --workers 1

Bond lengths and angles of each molecule are drawn around their minimum, orientations at random, and pairs placed at
drawn distances of their oxygens; the last file is one rigid pair that is pulled apart. Labels are ``make_labels.py``'s,
with localised orbitals (``wannier=O``). All random numbers come from ``--seed``.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import make_labels as labels
import numpy as np
from ase import Atoms
from rich.console import Console
from scipy.spatial.transform import Rotation

BOND, ANGLE = (0.955, 0.03), (105.5, 4.0)  # Å, degrees: mean and standard deviation
CONTACT = {"HH": 1.9, "HO": 1.6, "OO": 2.5}  # Å, closest atoms of two molecules
NEAR, FAR = (2.6, 6.0), (6.0, 12.0)  # Å, distances of oxygens
COUNTS = {"train": (24, 66, NEAR), "val": (4, 12, NEAR), "test": (6, 12, NEAR), "test_far": (0, 10, FAR)}
SCAN = np.concatenate([np.arange(2.7, 4.0, 0.3), np.arange(4.0, 12.1, 0.5)])  # Å
TILT = 55.0  # degrees between the hydrogen bond and the acceptor's axis, about as in the dimer's minimum
POSITION_DECIMALS = 5
SETTINGS = {"xc": "hf", "basis": "def2-svpd", "population": "iao", "wannier": "O"}


def water(rng: np.random.Generator) -> Atoms:
    """Return a distorted molecule in a random orientation, oxygen first, at the origin."""
    first, second = rng.normal(*BOND, 2)
    angle = np.radians(rng.normal(*ANGLE))
    places = [[0, 0, 0], [first, 0, 0], [second * np.cos(angle), second * np.sin(angle), 0]]
    return Atoms("OH2", places @ Rotation.random(random_state=rng).as_matrix().T)


def pair(rng: np.random.Generator, reach: tuple[float, float]) -> Atoms:
    """Return two molecules whose oxygens are within ``reach`` (Å) of each other, and no atoms too close."""
    while True:
        first, second = water(rng), water(rng)
        direction = rng.normal(size=3)
        second.positions += rng.uniform(*reach) * direction / np.linalg.norm(direction)
        between = np.linalg.norm(first.positions[:, None] - second.positions, axis=2)
        closest = [[CONTACT["".join(sorted(a.symbol + b.symbol))] for b in second] for a in first]
        if (between > closest).all():
            return first + second


def scanned() -> list[Atoms]:
    """Return one rigid pair with a hydrogen bond along x, its oxygens further and further apart."""
    angle, tilt = np.radians([ANGLE[0], TILT])
    donor = BOND[0] * np.array([[0, 0, 0], [1, 0, 0], [np.cos(angle), np.sin(angle), 0]])
    axis, across = np.array([np.cos(tilt), -np.sin(tilt), 0]), np.array([0, 0, np.sin(angle / 2)])
    arms = [np.cos(angle / 2) * axis + sign * across for sign in (1, -1)]
    acceptor = BOND[0] * np.array([[0, 0, 0], *arms])
    return [Atoms("OH2OH2", np.concatenate([donor, acceptor + [distance, 0, 0]])) for distance in SCAN]


def frames(seed: int) -> dict[str, list[Atoms]]:
    """Return the structures of every file."""
    found = {"dissociation": scanned()}
    for place, (name, (single, double, reach)) in enumerate(COUNTS.items()):
        rng = np.random.default_rng([seed, place])
        found[name] = [water(rng) for _ in range(single)] + [pair(rng, reach) for _ in range(double)]
    for name, structures in found.items():
        for atoms in structures:
            atoms.positions = np.round(atoms.positions, POSITION_DECIMALS)
            kind = "scan" if name == "dissociation" else "distorted"
            atoms.info.update(total_charge=0, multiplicity=1, group="H2O" + ".H2O" * (len(atoms) > 3), config_type=kind)
    return found


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--output", type=Path, default=Path("eqff/datasets/water"), help="folder of the data set")
    p.add_argument("--seed", type=int, default=20, help="seed of all random numbers (default 20)")
    p.add_argument("--workers", type=int, default=1, help="worker processes of one thread each (default 1)")
    args = p.parse_args(argv)
    args.output.mkdir(parents=True, exist_ok=True)
    settings, console = labels.Settings("pyscf", SETTINGS), Console(stderr=True)
    report = labels.provenance(settings) | {"seed": args.seed, "files": {}}
    for name, structures in frames(args.seed).items():
        path = args.output / f"{name}.extxyz.gz"
        found = labels.label_frames(labels.prepare(structures), path, settings, args.workers, console)
        report["files"][name] = {"written": found["written"], "failed": found["failed"]}
    for name in report["files"]:
        (args.output / f"{name}.labels.json").unlink()
    labels.replace_file(args.output / "provenance.json", (json.dumps(report, indent=1) + "\n").encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
