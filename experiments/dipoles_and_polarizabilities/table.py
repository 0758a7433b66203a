"""Errors over the number of training molecules: python table.py OUTPUT_FOLDER."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch

import eqff
from eqff.data.reading import read_frames
from eqff.evaluation.predictions import predict

MODELS = ("charges", "dipoles", "interacting")
LABELS = ("dipole", "polarizability")
ERRORS = {
    "dipole": "dipole, RMSE of a component (me·Å)",
    "relative dipole": "dipole, RMSE of a component (% of its standard deviation)",
    "alpha": "mean polarizability, RMSE (Å³/atom)",
    "anisotropic": "anisotropic polarizability, RMSE of a component (Å³/atom)",
    "relative alpha": "polarizability per atom, RMSE of a component (% of its standard deviation)",
}

Found = dict[str, dict[int, list[dict[str, float]]]]


def rms(values: np.ndarray) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(values))))


def errors(folder: Path, test: Path) -> dict[str, float]:
    """Of one model on the test set."""
    frames = read_frames(test, labels=LABELS)
    predictions = predict(eqff.load(folder), frames, labels=LABELS)
    atoms = np.array([frame.num_nodes for frame in frames])[:, None, None]
    mu = np.stack([frame.dipole[0].numpy() for frame in frames])
    alpha = np.stack([frame.polarizability[0].numpy() for frame in frames]) / atoms
    mu_error = np.stack([p.labels["dipole"] for p in predictions]) - mu
    alpha_error = np.stack([p.labels["polarizability"] for p in predictions]) / atoms - alpha
    mean = np.trace(alpha_error, axis1=1, axis2=2) / 3
    return {
        "dipole": 1000 * rms(mu_error),
        "relative dipole": 100 * rms(mu_error) / float(mu.std()),
        "alpha": rms(mean),
        "anisotropic": rms(alpha_error - mean[:, None, None] * np.eye(3)),
        "relative alpha": 100 * rms(alpha_error) / rms(alpha - alpha.mean(axis=0)),
    }


def finished(output: Path) -> Found:
    """Errors of all finished runs, by model and number of molecules, one for each seed."""
    found: Found = defaultdict(lambda: defaultdict(list))
    for path in sorted(output.glob("*/result.json")):
        if not json.loads(path.read_text(encoding="utf-8"))["interrupted"]:
            model, size, _ = path.parent.name.split("-")
            found[model][int(size)].append(errors(path.parent, output / "data" / "test.extxyz"))
    return found


def cell(values: list[float]) -> str:
    """Mean and standard deviation over seeds."""
    return f"{np.mean(values):.3g}" + (f" ± {np.std(values, ddof=1):.2g}" if len(values) > 1 else "")


def table(found: Found) -> str:
    """A row for each model and number of molecules."""
    lines = [f"| model | molecules | {' | '.join(ERRORS.values())} |", "|---|---:|" + "---:|" * len(ERRORS)]
    for model in (model for model in MODELS if model in found):
        for size, seeds in sorted(found[model].items()):
            cells = [cell([seed[name] for seed in seeds]) for name in ERRORS]
            lines.append(f"| {model} | {size} | {' | '.join(cells)} |")
    return "\n".join(lines)


def figure(found: Found, path: Path) -> None:
    """Learning curves; a point for each seed, lines through the means."""
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(8, 3.2), layout="constrained")
    for axes, name in zip(canvas.subplots(1, 2), ("dipole", "relative alpha"), strict=True):
        for index, model in enumerate(model for model in MODELS if model in found):
            sizes = sorted(found[model])
            means = [np.mean([seed[name] for seed in found[model][size]]) for size in sizes]
            axes.plot(sizes, means, color=f"C{index}", label=model)
            for size in sizes:
                values = [seed[name] for seed in found[model][size]]
                axes.plot([size] * len(values), values, "o", color=f"C{index}", alpha=0.5)
        axes.set(xscale="log", yscale="log", xlabel="training molecules", ylabel=ERRORS[name])
        axes.grid(which="both", alpha=0.2)
    canvas.axes[0].legend(frameon=False)
    canvas.savefig(path, dpi=120)


def main(output: Path) -> None:
    """Writes ``table.md`` and ``learning_curves.png`` and prints the table."""
    torch.set_num_threads(1)
    found = finished(output)
    text = table(found) + "\n"
    (output / "table.md").write_text(text, encoding="utf-8")
    figure(found, output / "learning_curves.png")
    print(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
