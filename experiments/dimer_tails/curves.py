"""Binding curves beyond the training range, and their errors: python curves.py OUTPUT_FOLDER (as run.sh leaves it)."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import ase.io
import numpy as np
import torch

import eqff
from eqff.data.reading import read_frames
from eqff.evaluation.predictions import predict
from eqff.potential import Potential

SCHEMES = ("short_range", "input", "inferred", "nse", "qeq", "hdnnp_4g", "sqe", "latent", "lode", "bpopnn")
DIMERS = {
    "CC": "cation–anion",
    "CP": "charged–polar",
    "CA": "charged–apolar",
    "PP": "polar–polar",
    "PA": "polar–apolar",
    "AA": "apolar–apolar",
}
BEYOND = ((0, 7), (7, 8), (8, 10), (10, 20))
"""Å; bins of the shipped far pairs."""

Models = dict[str, list[Potential]]


@dataclass(frozen=True)
class Curves:
    """All frames of the dimers: arrays of the same length.

    Attributes:
        label: Kind of dimer.
        distance: Å.
        trained: Whether it is within the distances of training (validation frames are).
        energy: Interaction energy in eV: less the labels of both monomers.
    """

    label: np.ndarray
    distance: np.ndarray
    trained: np.ndarray
    energy: np.ndarray


def runs(folder: Path) -> Models:
    """Finished models of one data set by scheme, a model for each seed."""
    found: Models = defaultdict(list)
    for scheme in SCHEMES:
        for path in sorted(folder.glob(f"{scheme}-*/result.json")):
            if not json.loads(path.read_text(encoding="utf-8"))["interrupted"]:
                found[scheme].append(eqff.load(path.parent))
    return dict(found)


def energies(models: Sequence[Potential], path: Path | str) -> np.ndarray:
    """Of the frames of a file, eV, (models, M)."""
    frames = read_frames(path, multiplicity="lowest", labels=["energy"])
    return np.array(
        [[float(p.labels["energy"]) for p in predict(model, frames, labels=("energy",))] for model in models]
    )


def dimers(folder: Path, models: Models) -> tuple[Curves, dict[str, np.ndarray]]:
    """Labels, and each scheme's interaction energies in eV, (seeds, M)."""
    files = {name: folder / "data" / "charged_dimers" / f"{name}.extxyz" for name in ("train", "val", "far")}
    frames = [(name, frame) for name, file in files.items() for frame in ase.io.read(file, ":")]
    alone = np.array([frame.info["energy_a"] + frame.info["energy_b"] for _, frame in frames])
    curves = Curves(
        label=np.array([frame.info["label"] for _, frame in frames]),
        distance=np.array([frame.info["distance"] for _, frame in frames]),
        trained=np.array([name != "far" for name, _ in frames]),
        energy=np.array([frame.get_potential_energy() for _, frame in frames]) - alone,
    )
    found = {
        scheme: np.concatenate([energies(seeds, file) for file in files.values()], axis=1) - alone
        for scheme, seeds in models.items()
    }
    return curves, found


def spread(values: np.ndarray) -> str:
    """Mean and standard deviation over seeds."""
    return f"{values.mean():.3g}" + (f" ± {values.std(ddof=1):.2g}" if len(values) > 1 else "")


def dimer_table(curves: Curves, found: dict[str, np.ndarray]) -> str:
    """Mean absolute error of the interaction energy beyond the training range, by kind of dimer."""
    lines = [f"| meV | {' | '.join(DIMERS.values())} | all |", "|---|" + "---:|" * (len(DIMERS) + 1)]
    far = ~curves.trained
    for scheme, predicted in found.items():
        errors = 1000 * np.abs(predicted - curves.energy)
        cells = [spread(errors[:, far & (curves.label == label)].mean(1)) for label in DIMERS]
        lines.append(f"| {scheme} | {' | '.join(cells)} | {spread(errors[:, far].mean(1))} |")
    return "\n".join(lines)


def pair_table(models: Models) -> str:
    """Mean absolute error of the energy of the shipped far pairs, by distance."""
    file = "shipped:ions/test_far_pairs.extxyz.gz"
    frames = read_frames(file, labels=["energy"])
    labels = np.array([float(frame.energy) for frame in frames])
    distance = np.array([float(atoms.info["pair_distance"]) for atoms in shipped_pairs()])
    chosen = [(low, high, (distance >= low) & (distance < high)) for low, high in BEYOND]
    chosen = [(low, high, mask) for low, high, mask in chosen if mask.any()]
    title = " | ".join(f"{low} to {high} Å ({mask.sum()})" for low, high, mask in chosen)
    lines = [f"| meV | {title} |", "|---|" + "---:|" * len(chosen)]
    for scheme, seeds in models.items():
        errors = 1000 * np.abs(energies(seeds, file) - labels)
        lines.append(f"| {scheme} | {' | '.join(spread(errors[:, mask].mean(1)) for _, _, mask in chosen)} |")
    return "\n".join(lines)


def shipped_pairs() -> list[ase.Atoms]:
    """The shipped far pairs with all that their file says."""
    import gzip
    import io
    from importlib.resources import files

    packed = (files("eqff") / "datasets" / "ions" / "test_far_pairs.extxyz.gz").read_bytes()
    return ase.io.read(io.StringIO(gzip.decompress(packed).decode()), ":", format="extxyz")


def figure(curves: Curves, found: dict[str, np.ndarray], path: Path) -> None:
    """A panel for each dimer: labels, and each scheme's mean over seeds with its range."""
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(12, 6.5), layout="constrained")
    for axes, (label, title) in zip(canvas.subplots(2, 3).flat, DIMERS.items(), strict=True):
        order = np.flatnonzero(curves.label == label)
        order = order[np.argsort(curves.distance[order])]
        x = curves.distance[order]
        axes.axvspan(x.min() - 0.2, x[curves.trained[order]].max(), color="0.93", label="training")
        for index, (scheme, predicted) in enumerate(found.items()):
            y = 1000 * predicted[:, order]
            axes.plot(x, y.mean(0), color=f"C{index}", label=scheme, linewidth=1.2)
            axes.fill_between(x, y.min(0), y.max(0), color=f"C{index}", alpha=0.15)
        axes.plot(x, 1000 * curves.energy[order], "ko", markersize=4, label="labels")
        axes.set(title=title, xlabel="distance (Å)", ylabel="interaction energy (meV)")
    canvas.axes[0].legend(frameon=False, fontsize=7)
    canvas.savefig(path, dpi=120)


def main(output: Path) -> None:
    """Writes ``tails.md`` and ``tails.png`` and prints the tables."""
    torch.set_num_threads(1)
    models = runs(output / "charged_dimers")
    curves, found = dimers(output, models)
    text = dimer_table(curves, found) + "\n\n" + pair_table(runs(output / "ions")) + "\n"
    (output / "tails.md").write_text(text, encoding="utf-8")
    figure(curves, found, output / "tails.png")
    print(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
