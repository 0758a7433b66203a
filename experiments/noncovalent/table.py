"""Errors of interaction energies by set, distance and part of the physics: python table.py OUTPUT_FOLDER."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path

import ase.io
import numpy as np
import torch
from ase import Atoms

import eqff
from eqff.data.reading import read_frames
from eqff.evaluation.predictions import Prediction, predict
from eqff.potential import Potential

MODELS = ("short_range", "charges", "multipoles", "induction", "dispersion")
SETS = {"HB375": "hydrogen bonds", "IHB100": "ions", "D442": "dispersion"}
DISTANCES = {
    "0.8 to 0.9": (0.0, 0.92),
    "0.95 to 1.1": (0.92, 1.15),
    "1.25": (1.15, 1.3),
    "1.5": (1.3, 1.7),
    "2": (1.7, 9.0),
}
COMPONENTS = {
    "multipoles": ("sapt_elst",),
    "induction": ("sapt_ind", "sapt_dhf"),
    "dispersion": ("sapt_disp",),
}
"""What a term of the model may be held against: sums of parts of DFT-SAPT."""


def interaction(frames: list[Atoms], predictions: list[Prediction], term: str | None = None) -> np.ndarray:
    """Of each pair in eV, or what one term adds to it: the pair's energy less those of its two molecules."""

    def energy(prediction: Prediction) -> float:
        return float(prediction.labels["energy"]) if term is None else prediction.terms[term]

    alone: dict[str, float] = defaultdict(float)
    for frame, prediction in zip(frames, predictions, strict=True):
        if frame.info["kind"] == "molecule":
            alone[frame.info["group"]] += energy(prediction)
    pairs = [(f, p) for f, p in zip(frames, predictions, strict=True) if f.info["kind"] == "pair"]
    return np.array([energy(prediction) - alone[frame.info["group"]] for frame, prediction in pairs])


def finished(output: Path) -> dict[str, list[Potential]]:
    """Models by name, one for each seed."""
    found = defaultdict(list)
    for name in MODELS:
        for path in sorted(output.glob(f"{name}-*/result.json")):
            if not json.loads(path.read_text(encoding="utf-8"))["interrupted"]:
                found[name].append(eqff.load(path.parent))
    return dict(found)


def cell(values: list[float]) -> str:
    """Mean and standard deviation over seeds."""
    return f"{np.mean(values):.3g}" + (f" ± {np.std(values, ddof=1):.2g}" if len(values) > 1 else "")


def error_table(pairs: list[Atoms], errors: dict[str, list[np.ndarray]]) -> str:
    """Mean absolute errors, meV, by set and by distance."""
    sets, scaling = (np.array([pair.info[key] for pair in pairs]) for key in ("set", "scaling"))
    parts = {title: sets == name for name, title in SETS.items()}
    parts |= {f"r = {title}": (scaling >= low) & (scaling < high) for title, (low, high) in DISTANCES.items()}
    parts["all"] = np.ones(len(pairs), dtype=bool)
    lines = [f"| meV | seeds | {' | '.join(parts)} |", "|---|---:|" + "---:|" * len(parts)]
    for name, seeds in errors.items():
        cells = [cell([1000 * float(np.abs(error[mask]).mean()) for error in seeds]) for mask in parts.values()]
        lines.append(f"| {name} | {len(seeds)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def component_table(pairs: list[Atoms], terms: dict[str, dict[str, list[np.ndarray]]]) -> str:
    """How terms compare with parts of DFT-SAPT at 1.25 times the equilibrium distance and beyond."""
    far = np.array([pair.info["scaling"] > 1.2 for pair in pairs])
    lines = ["| model | term | correlation with DFT-SAPT | RMS of the term (meV) | RMS of the component (meV) |"]
    lines.append("|---|---|---:|---:|---:|")
    for name, found in terms.items():
        for term, seeds in found.items():
            label = np.array([sum(pair.info[key] for key in COMPONENTS[term]) for pair in pairs])[far]
            known = np.isfinite(label)
            values = [seed[far][known] for seed in seeds]
            correlation = cell([float(np.corrcoef(value, label[known])[0, 1]) for value in values])
            size = cell([1000 * float(np.sqrt(np.mean(value**2))) for value in values])
            lines.append(
                f"| {name} | {term} | {correlation} | {size} | {1000 * np.sqrt(np.mean(label[known] ** 2)):.3g} |"
            )
    return "\n".join(lines)


def figure(pairs: list[Atoms], errors: dict[str, list[np.ndarray]], path: Path) -> None:
    """Mean absolute error over distance, a panel for each set."""
    from matplotlib.figure import Figure

    sets, scaling = (np.array([pair.info[key] for pair in pairs]) for key in ("set", "scaling"))
    distances = np.unique(scaling)
    canvas = Figure(figsize=(11, 3.2), layout="constrained")
    for axes, (name, title) in zip(canvas.subplots(1, 3), SETS.items(), strict=True):
        for index, (model, seeds) in enumerate(errors.items()):
            rows = [[1000 * np.abs(e[(sets == name) & (scaling == d)]).mean() for d in distances] for e in seeds]
            axes.plot(distances, np.mean(rows, axis=0), "o-", color=f"C{index}", markersize=3, label=model)
        axes.set(title=title, xlabel="distance / equilibrium", ylabel="MAE (meV)", yscale="log")
    canvas.axes[0].legend(frameon=False, fontsize=8)
    canvas.savefig(path, dpi=120)


def main(output: Path) -> None:
    """Writes ``table.md`` and ``distance.png`` and prints the tables."""
    torch.set_num_threads(1)
    file = output / "data" / "test.extxyz"
    images, frames = ase.io.read(file, ":"), read_frames(file, labels=["energy"])
    pairs = [image for image in images if image.info["kind"] == "pair"]
    labels = np.array([pair.get_potential_energy() for pair in pairs])
    errors: dict[str, list[np.ndarray]] = defaultdict(list)
    terms: dict[str, dict[str, list[np.ndarray]]] = defaultdict(lambda: defaultdict(list))
    for name, models in finished(output).items():
        for model in models:
            predictions = predict(model, frames, labels=("energy",))
            errors[name].append(interaction(images, predictions) - labels)
            for term in COMPONENTS.keys() & predictions[0].terms.keys():
                terms[name][term].append(interaction(images, predictions, term))
    text = f"{error_table(pairs, errors)}\n\n{component_table(pairs, terms)}\n"
    (output / "table.md").write_text(text, encoding="utf-8")
    figure(pairs, errors, output / "distance.png")
    print(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
