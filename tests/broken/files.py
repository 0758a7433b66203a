"""Data files that are broken in one way each, by name."""

from __future__ import annotations

import gzip
import pickle
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

HEADER = (
    'Properties=species:S:1:pos:R:3:forces:R:3 energy={energy} total_charge={charge} multiplicity={spin} pbc="F F F"'
)
WATER = (("O", 0.0, 0.0, 0.12), ("H", 0.0, 0.76, -0.47), ("H", 0.0, -0.76, -0.47))

COINCIDING = f"3\n{HEADER.format(energy=-100, charge=0, spin=1)}\nO 0 0 0 1 0 0\n" + "H 0 0.7 0 -0.5 0 0\n" * 2


def frame(index: int = 0, header: str = HEADER, atoms: tuple = WATER, count: object = None, **info: object) -> str:
    """One frame of extxyz: distorted water with forces that sum to zero."""
    noise = np.random.default_rng(index).normal(size=(len(atoms), 6))
    force = noise[:, 3:] - noise[:, 3:].mean(axis=0)
    rows = [
        f"{symbol} {x + 0.03 * n[0]:.6f} {y + 0.03 * n[1]:.6f} {z + 0.03 * n[2]:.6f} {f[0]:.6f} {f[1]:.6f} {f[2]:.6f}"
        for (symbol, x, y, z), n, f in zip(atoms, noise, force, strict=True)
    ]
    values = {"energy": -100.0 - 0.1 * index, "charge": 0, "spin": 1} | info
    return "\n".join([str(len(atoms) if count is None else count), header.format(**values), *rows]) + "\n"


def frames(**changes: object) -> str:
    """Eight frames; the third is as ``changes`` say."""
    return "".join(frame(index, **(changes if index == 2 else {})) for index in range(8))


def each(**changes: object) -> str:
    """Eight frames, all as ``changes`` say."""
    return "".join(frame(index, **changes) for index in range(8))


def third(replace: Callable[[str], str]) -> str:
    """Eight frames, the text of the third one replaced."""
    return "".join(replace(frame(index)) if index == 2 else frame(index) for index in range(8))


def _hdf5(path: Path, **datasets: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        for name, value in datasets.items():
            file[f"water/{name}"] = value


def arrays(**changes: object) -> dict[str, np.ndarray]:
    """Arrays of five conformations of water, as npz and HDF5 files have them; None leaves one out."""
    rng = np.random.default_rng(0)
    whole = {
        "atomic_numbers": np.array([8, 1, 1]),
        "coordinates": np.array([atom[1:] for atom in WATER]) + 0.03 * rng.normal(size=(5, 3, 3)),
        "energy": -100.0 + rng.normal(size=5),
        "forces": rng.normal(size=(5, 3, 3)),
    } | changes
    return {name: value for name, value in whole.items() if value is not None}


TEXTS: dict[str, str] = {
    "good.extxyz": "".join(frame(index) for index in range(8)),
    "empty.extxyz": "",
    "blank.extxyz": "\n\n\n",
    "truncated.extxyz": "".join(frame(index) for index in range(8))[:-40],
    "count.extxyz": frames(count="three"),
    "negative_count.extxyz": frames(count=-3),
    "too_few_columns.extxyz": third(lambda text: text.replace("O ", "O\n", 1)),
    "text_for_number.extxyz": third(lambda text: text.replace("O 0", "O a0", 1).replace("O -0", "O a0", 1)),
    "no_species.extxyz": each(header=HEADER.replace("species:S:1:", "what:S:1:")),
    "no_energy.extxyz": each(header=HEADER.replace("energy={energy}", "")),
    "no_forces.extxyz": each(header=HEADER.replace("forces:R:3", "other:R:3")),
    "nan_energy.extxyz": frames(energy="nan"),
    "text_energy.extxyz": frames(energy="high"),
    "nan_position.extxyz": frames(atoms=(("O", float("nan"), 0.0, 0.0), *WATER[1:])),
    "infinite_position.extxyz": frames(atoms=(("O", float("inf"), 0.0, 0.0), *WATER[1:])),
    "zero_energy.extxyz": each(energy=0.0),
    "coinciding.extxyz": third(lambda text: COINCIDING),
    "unknown_element.extxyz": frames(atoms=(("Xy", 0.0, 0.0, 0.12), *WATER[1:])),
    "no_charge.extxyz": frames(header=HEADER.replace("total_charge={charge}", "")),
    "no_multiplicity.extxyz": frames(header=HEADER.replace("multiplicity={spin}", "")),
    "doublet.extxyz": frames(spin=2),
    "no_spin.extxyz": frames(spin=0),
    "half_spin.extxyz": frames(spin=1.5),
    "many_unpaired.extxyz": frames(spin=21),
    "half_charge.extxyz": frames(charge=0.5),
    "overcharged.extxyz": frames(charge=12),
    "text_charge.extxyz": frames(charge="neutral"),
    "two_energies.extxyz": each(header=HEADER.replace("energy={energy}", "energy={energy} REF_energy=3")),
    "flat_cell.extxyz": frames(header=HEADER.replace('pbc="F F F"', 'Lattice="5 0 0 5 0 0 0 0 5" pbc="T T T"')),
    "no_cell.extxyz": frames(header=HEADER.replace('pbc="F F F"', 'pbc="T T T"')),
    "two_frames.extxyz": frame(0) + frame(1),
    "carbon.extxyz": "".join(frame(index, atoms=(("C", 0.0, 0.0, 0.12), *WATER[1:])) for index in range(3)),
    "notes.txt": "not a structure file\n",
    "split.json": '{"train": [0, 1, 2], "val": [2]}',
    "outside.json": '{"train": [0, 1, 99], "val": [2]}',
    "broken.json": '{"train": [0, 1',
    "empty.json": "{}",
}
"""Text files by name."""


def write_all(folder: Path) -> Path:
    """Writes every file into a folder."""
    for name, text in TEXTS.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "zero_forces.extxyz").write_text("".join(_without_forces(index) for index in range(8)), encoding="utf-8")
    (folder / "binary.extxyz").write_bytes(np.random.default_rng(0).bytes(4000))
    (folder / "not_gzip.extxyz.gz").write_bytes(b"\x1f\x8b" + np.random.default_rng(1).bytes(500))
    (folder / "cut.extxyz.gz").write_bytes(gzip.compress(TEXTS["good.extxyz"].encode())[:-30])
    (folder / "own_config" / "experiment").mkdir(parents=True)
    (folder / "own_config" / "experiment" / "bad.yaml").write_text("name: [a\n  b: }\n", encoding="utf-8")
    (folder / "empty_folder").mkdir()
    (folder / "notes").mkdir()
    (folder / "notes" / "notes.txt").write_text("no structures here\n", encoding="utf-8")
    (folder / "text.h5").write_text("no HDF5\n", encoding="utf-8")
    (folder / "text.npz").write_text("no npz\n", encoding="utf-8")
    (folder / "text.db").write_text("no database\n", encoding="utf-8")
    (folder / "text.traj").write_text("no trajectory\n", encoding="utf-8")
    _hdf5(folder / "good.h5", **arrays())
    _hdf5(folder / "short_energies.h5", **arrays(energy=np.zeros(3)))
    _hdf5(folder / "wrong_forces.h5", **arrays(forces=np.zeros((5, 2, 3))))
    _hdf5(folder / "no_numbers.h5", **arrays(atomic_numbers=None))
    with h5py.File(folder / "nothing.h5", "w"):
        pass
    (folder / "cut.h5").write_bytes((folder / "good.h5").read_bytes()[:1500])
    np.savez(folder / "good.npz", **arrays())
    np.savez(folder / "short_energies.npz", **arrays(energy=np.zeros(3)))
    np.savez(folder / "wrong_numbers.npz", **arrays(atomic_numbers=np.array([8, 1])))
    np.savez(folder / "no_positions.npz", **arrays(coordinates=None))
    np.savez(folder / "objects.npz", **arrays(energy=np.array([Trap()] * 5, dtype=object)))
    (folder / "cut.npz").write_bytes((folder / "good.npz").read_bytes()[:300])
    return folder


def _without_forces(index: int) -> str:
    head, rows = frame(index).split("\n")[:2], frame(index).split("\n")[2:5]
    return "\n".join([*head, *(" ".join([*row.split()[:4], "0", "0", "0"]) for row in rows)]) + "\n"


SPRUNG = "trap_was_sprung"
"""The file that a `Trap` leaves in the working folder."""


class Trap:
    """An object whose unpickling would leave a mark."""

    def __reduce__(self):
        return pickle.loads, (f"cbuiltins\nopen\n(S'{SPRUNG}'\nS'w'\ntR.".encode(),)
