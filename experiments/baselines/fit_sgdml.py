"""Fits sGDML to frames of one molecule with its own package: usage: fit_sgdml.py TRAIN VALIDATION MODEL.npz

The kernel width is the one of least force error on the validation frames. Labels are in eV and Å, so the calculator is
sgdml.intf.ase_calc.SGDMLCalculator with E_to_eV=1 and F_to_eV_Ang=1.
"""

import sys

import numpy as np
from sgdml.predict import GDMLPredict
from sgdml.train import GDMLTrain
from sgdml.utils import io

from eqff.data.reading import read_frames

WIDTHS = (10, 15, 20, 30, 40, 60)


def dataset(path: str) -> dict:
    """Frames of one molecule as sGDML takes them."""
    frames = read_frames(path)
    stacked = {
        "R": np.stack([frame.positions.numpy() for frame in frames]),
        "E": np.array([float(frame.energy) for frame in frames]),
        "F": np.stack([frame.forces.numpy() for frame in frames]),
    }
    texts = {"name": np.array("frames"), "theory": np.array("unknown"), "r_unit": "Ang", "e_unit": "eV", "type": "d"}
    content = {**texts, **stacked, "z": frames[0].numbers.numpy(), "code_version": "1"}
    return content | {"md5": io.dataset_md5(content)}


def force_error(model: dict, data: dict) -> float:
    """Root mean square over components, eV/Å."""
    predictor = GDMLPredict(model, max_processes=1)
    _, forces = predictor.predict(data["R"].reshape(len(data["R"]), -1))
    return float(np.sqrt(np.mean((forces.reshape(data["F"].shape) - data["F"]) ** 2)))


def main(train: str, validation: str, target: str) -> None:
    """One model for each width; the best is kept."""
    data, held_back = dataset(train), dataset(validation)
    trainer = GDMLTrain(max_processes=1)
    best, perms = np.inf, None
    for width in WIDTHS:
        sizes = len(data["R"]), len(held_back["R"])
        task = trainer.create_task(data, sizes[0], held_back, sizes[1], sig=width, perms=perms)
        perms = task["perms"]  # symmetries are those of the molecule: searched once
        model = trainer.train(task)
        error = force_error(model, held_back)
        print(f"width {width}: {len(perms)} permutations, validation force RMSE {1000 * error:.2f} meV/Å", flush=True)
        if error < best:
            best = error
            np.savez_compressed(target, **model)


if __name__ == "__main__":
    main(*sys.argv[1:])
