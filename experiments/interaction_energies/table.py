"""Errors of interaction energies and of their parts: python table.py OUTPUT_FOLDER."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path

import ase.io
import numpy as np
import torch
from ase import Atoms
from ase.units import kcal, mol

import eqff
from eqff.data.reading import read_frames
from eqff.evaluation.predictions import predict
from eqff.potential import Potential

WHOLE = "supermolecular"
MODELS = (WHOLE, "pairs", "ap_net", "ap_net_sapt")
SETS = {"HB375": "hydrogen bonds", "IHB100": "ions", "D442": "dispersion"}
DISTANCES = {"0.8 to 0.9": (0.0, 0.92), "0.95 to 1.1": (0.92, 1.15), "1.25 to 2": (1.15, 9.0)}
PARTS = {"electrostatics": "sapt_elst", "exchange": "sapt_exch", "induction": "sapt_ind", "dispersion": "sapt_disp"}
UNIT = kcal / mol

Values = dict[str, list[np.ndarray]]
"""By model, one array for each seed."""


def finished(output: Path, name: str) -> list[Potential]:
    """Models of that name, one for each seed."""
    paths = sorted(output.glob(f"{name}-*/result.json"))
    return [eqff.load(path.parent) for path in paths if not json.loads(path.read_text())["interrupted"]]


def supermolecular(output: Path) -> tuple[list[Atoms], list[np.ndarray]]:
    """Pairs in the order of their file, and what each model gives: pair less molecules, eV."""
    file = output / "data" / WHOLE / "test.extxyz"
    images, frames, found = ase.io.read(file, ":"), read_frames(file, labels=["energy"]), []
    for model in finished(output, WHOLE):
        energies = np.array([float(p.labels["energy"]) for p in predict(model, frames, labels=("energy",))])
        alone: dict[str, float] = defaultdict(float)
        for image, energy in zip(images, energies, strict=True):
            if image.info["kind"] == "molecule":
                alone[image.info["group"]] += energy
        pairs = [(i.info["group"], e) for i, e in zip(images, energies, strict=True) if i.info["kind"] == "pair"]
        found.append(np.array([energy - alone[group] for group, energy in pairs]))
    return [image for image in images if image.info["kind"] == "pair"], found


def of_fragments(output: Path, name: str) -> tuple[list[np.ndarray], dict[str, list[np.ndarray]]]:
    """Energies and parts of them that models of fragments give, eV."""
    file = output / "data" / "fragments" / "test.extxyz"
    frames = read_frames(file, labels=["energy"], keys={"interaction_energy": "energy"})
    energies, parts = [], defaultdict(list)
    for model in finished(output, name):
        wanted = ("energy", *(label for label in PARTS.values() if label in model.predicts))
        predictions = predict(model, frames, labels=wanted)
        energies.append(np.array([float(p.labels["energy"]) for p in predictions]))
        for label in wanted[1:]:
            parts[label].append(np.array([float(p.labels[label]) for p in predictions]))
    return energies, parts


def cell(values: list[float]) -> str:
    """Mean and standard deviation over seeds."""
    return f"{np.mean(values):.2f}" + (f" ± {np.std(values, ddof=1):.2f}" if len(values) > 1 else "")


def masks(pairs: list[Atoms]) -> dict[str, np.ndarray]:
    """Which pairs are in each column."""
    sets, scaling = (np.array([pair.info[key] for pair in pairs]) for key in ("set", "scaling"))
    found = {title: sets == name for name, title in SETS.items()}
    found |= {f"r = {title}": (scaling >= low) & (scaling < high) for title, (low, high) in DISTANCES.items()}
    return found | {"all": np.ones(len(pairs), dtype=bool)}


def error_table(pairs: list[Atoms], labels: np.ndarray, found: Values) -> str:
    """Mean absolute errors in kcal/mol, those of predicting nothing first."""
    columns = masks(pairs)
    lines = [f"| kcal/mol | seeds | {' | '.join(columns)} |", "|---|---:|" + "---:|" * len(columns)]
    for name, seeds in ({"zero": [np.zeros_like(labels)]} | found).items():
        errors = [np.abs(seed - labels) / UNIT for seed in seeds]
        cells = [cell([float(error[mask].mean()) for error in errors]) for mask in columns.values()]
        lines.append(f"| {name} | {len(seeds) if name in found else ''} | {' | '.join(cells)} |")
    return "\n".join(lines)


def part_table(pairs: list[Atoms], found: dict[str, dict[str, list[np.ndarray]]]) -> str:
    """Mean absolute errors of parts in kcal/mol where DFT-SAPT is known, beside their mean size."""
    lines = [f"| kcal/mol | {' | '.join(PARTS)} |", "|---|" + "---:|" * len(PARTS)]
    labels = {key: np.array([pair.info.get(key, np.nan) for pair in pairs], dtype=float) for key in PARTS.values()}
    sizes = [f"{np.nanmean(np.abs(labels[key])) / UNIT:.2f}" for key in PARTS.values()]
    lines.append(f"| mean size | {' | '.join(sizes)} |")
    for name, parts in found.items():
        cells = []
        for key in PARTS.values():
            errors = [np.nanmean(np.abs(seed - labels[key])) / UNIT for seed in parts[key]]
            cells.append(cell(errors))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def figure(pairs: list[Atoms], labels: np.ndarray, found: Values, path: Path) -> None:
    """Mean absolute error over distance, a panel for each set."""
    from matplotlib.figure import Figure

    sets, scaling = (np.array([pair.info[key] for pair in pairs]) for key in ("set", "scaling"))
    distances = np.unique(scaling)
    canvas = Figure(figsize=(11, 3.2), layout="constrained")
    for axes, (name, title) in zip(canvas.subplots(1, 3), SETS.items(), strict=True):
        for index, (model, seeds) in enumerate(found.items()):
            rows = [
                [np.abs(s - labels)[(sets == name) & (scaling == d)].mean() / UNIT for d in distances] for s in seeds
            ]
            axes.plot(distances, np.mean(rows, axis=0), "o-", color=f"C{index}", markersize=3, label=model)
        axes.set(title=title, xlabel="distance / equilibrium", ylabel="MAE (kcal/mol)", yscale="log")
    canvas.axes[0].legend(frameon=False, fontsize=8)
    canvas.savefig(path, dpi=120)


def main(output: Path) -> None:
    """Writes ``table.md`` and ``distance.png`` and prints the tables."""
    torch.set_num_threads(1)
    whole, found = supermolecular(output)
    pairs = ase.io.read(output / "data" / "fragments" / "test.extxyz", ":")
    if [p.info["group"] for p in whole] != [p.info["group"] for p in pairs]:
        raise ValueError("The files of both kinds hold other pairs: make them again.")
    labels = np.array([pair.info["interaction_energy"] for pair in pairs])
    energies, parts = {WHOLE: found} if found else {}, {}
    for name in MODELS[1:]:
        seeds, own = of_fragments(output, name)
        if seeds:
            energies[name] = seeds
        if own:
            parts[name] = own
    text = f"{error_table(pairs, labels, energies)}\n\n{part_table(pairs, parts)}\n"
    (output / "table.md").write_text(text, encoding="utf-8")
    figure(pairs, labels, energies, output / "distance.png")
    print(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
