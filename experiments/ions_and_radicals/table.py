"""Tables and figure of finished runs: python table.py DATA_FOLDER OUTPUT_FOLDER."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

import eqff
from eqff.data.atomic_data import AtomicData
from eqff.data.reading import read_frames
from eqff.evaluation.predictions import predict
from eqff.observables import Reactivity, labelled_reactivity, reactivity

RUNS = ("equilibration", "input", "attention")
LABELS = ("charges", "spin_charges")


def finished(folder: Path) -> bool:
    """Whether there is a run that came to its end."""
    result = folder / "result.json"
    return result.exists() and not json.loads(result.read_text(encoding="utf-8"))["interrupted"]


def errors_by_pass(model: eqff.Potential, frames: Sequence[AtomicData]) -> dict[str, np.ndarray]:
    """MAE and RMSE after each pass, (passes, 2): charges of all atoms, spin charges of open shells, in 10⁻³."""
    predictions = predict(model, frames, labels=LABELS)
    errors: dict[str, list[np.ndarray]] = {name: [] for name in LABELS}
    for frame, prediction in zip(frames, predictions, strict=True):
        for name in LABELS:
            if name == "spin_charges" and float(frame.multiplicity) == 1:
                continue  # there they are zero by construction
            passes = prediction.passes.get(name, prediction.labels[name][:, None])
            errors[name].append(1000 * (passes - frame[name].numpy()[:, None]))
    stacked = {name: np.concatenate(found) for name, found in errors.items()}
    return {name: np.stack([np.abs(e).mean(0), np.sqrt((e**2).mean(0))], axis=1) for name, e in stacked.items()}


def vertical(found: Sequence[Reactivity]) -> np.ndarray:
    """Ionisation potentials and electron affinities in eV, (M, 2)."""
    return np.array([[r.ionization_potential, r.electron_affinity] for r in found])


def mean_error(predicted: np.ndarray, labels: np.ndarray) -> str:
    """Mean absolute errors as cells of a table; a molecule that lacks a state is left out where that is needed."""
    return " | ".join(f"{error:.3f}" for error in np.nanmean(np.abs(predicted - labels), axis=0))


def redox_rows(models: dict[str, eqff.Potential], train: list[AtomicData], test: list[AtomicData]) -> list[str]:
    """A row for each model, and one for the mean over the training set."""
    labelled = labelled_reactivity(test)
    neutral = {frame.group: frame for frame in test if float(frame.total_charge) == 0}
    groups = [group for group in labelled if group in neutral]
    labels = vertical([labelled[group] for group in groups])
    mean = np.nanmean(vertical(list(labelled_reactivity(train).values())), axis=0)
    known = np.isfinite(labels).sum(axis=0)
    rows = [
        f"| model | IP, {known[0]} molecules (eV) | EA, {known[1]} molecules (eV) |",
        "|---|---:|---:|",
        f"| mean of the training set | {mean_error(np.broadcast_to(mean, labels.shape), labels)} |",
    ]
    for name, model in models.items():
        found = reactivity(model, [neutral[group] for group in groups], multiplicities=(2, 2))
        rows.append(f"| {name} | {mean_error(vertical(found), labels)} |")
    return rows


def pass_rows(errors: dict[str, dict[str, np.ndarray]]) -> list[str]:
    """A row for each pass of each model."""
    rows = [
        "| model | pass | charges MAE | charges RMSE (me) | spin charges MAE | spin charges RMSE (10⁻³) |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, found in errors.items():
        for index, numbers in enumerate(np.concatenate([found[label] for label in LABELS], axis=1)):
            place = str(index + 1) if found["charges"].shape[0] > 1 else "last"
            rows.append(f"| {name} | {place} | {' | '.join(f'{number:.1f}' for number in numbers)} |")
    return rows


def figure(errors: dict[str, dict[str, np.ndarray]], path: Path) -> None:
    """Mean absolute errors over passes; models that have charges at the end only are dashed lines."""
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(7, 3), layout="constrained")
    titles = ("charges (me)", "spin charges of open shells (10⁻³)")
    for axes, label, title in zip(canvas.subplots(1, 2), LABELS, titles, strict=True):
        for index, (name, found) in enumerate(errors.items()):
            values, colour = found[label][:, 0], f"C{index}"
            if len(values) > 1:
                axes.plot(range(1, len(values) + 1), values, "o-", color=colour, label=name)
            else:
                axes.axhline(values[0], linestyle="--", color=colour, label=name)
        axes.set(title=title, xlabel="pass", xticks=(1, 2, 3), ylabel="mean absolute error", ylim=(0, None))
    axes.legend(frameon=False)
    canvas.savefig(path, dpi=150)


def main(data: Path, output: Path) -> None:
    """Writes ``table.md`` and ``passes.png`` and prints the tables."""
    torch.set_num_threads(1)
    models = {name: eqff.load(output / name) for name in RUNS if finished(output / name)}
    train, test = (read_frames(data / f"{name}.extxyz.gz") for name in ("train", "test"))
    errors = {name: errors_by_pass(model, test) for name, model in models.items()}
    table = "\n".join([*pass_rows(errors), "", *redox_rows(models, train, test)]) + "\n"
    (output / "table.md").write_text(table, encoding="utf-8")
    figure(errors, output / "passes.png")
    print(table)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
