"""Tables and figure of finished runs, a folder MODEL-SEED each: python table.py DATA_FOLDER OUTPUT_FOLDER."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

import eqff
from eqff.data.atomic_data import AtomicData
from eqff.data.reading import read_frames
from eqff.evaluation.predictions import predict
from eqff.observables import Reactivity, labelled_reactivity, reactivity
from eqff.potential import Potential

MODELS = ("equilibration", "input", "attention")
LABELS = {"charges": "charges", "spin_charges": "spin charges"}
FRAMES = {"all frames": 1, "open shells": 2}
"""Sets of test frames and the least multiplicity in each."""
ERRORS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "MAE": lambda error: np.abs(error).mean(axis=0),
    "RMSE": lambda error: np.sqrt((error**2).mean(axis=0)),
}
Columns = dict[tuple[str, str], np.ndarray]
"""By label and set of frames."""


def runs(output: Path) -> Iterator[tuple[str, Path]]:
    """Model and folder of all runs that came to their end, model by model."""
    for name in MODELS:
        for result in sorted(output.glob(f"{name}-*/result.json")):
            if not json.loads(result.read_text(encoding="utf-8"))["interrupted"]:
                yield name, result.parent


def differences(model: Potential, frames: Sequence[AtomicData]) -> Columns:
    """Prediction less label of every atom after each pass, (N, passes), in 10⁻³ e."""
    predictions = predict(model, frames, labels=tuple(LABELS))
    found: Columns = {}
    for label in LABELS:
        for title, least in FRAMES.items():
            chosen = [pair for pair in zip(frames, predictions, strict=True) if float(pair[0].multiplicity) >= least]
            passes = [given.passes.get(label, given.labels[label][:, None]) for _, given in chosen]
            labels = [frame[label].numpy()[:, None] for frame, _ in chosen]
            found[label, title] = 1000 * (np.concatenate(passes) - np.concatenate(labels))
    return found


def vertical(found: Sequence[Reactivity]) -> np.ndarray:
    """Ionisation potentials and electron affinities in eV, (M, 2)."""
    return np.array([[r.ionization_potential, r.electron_affinity] for r in found])


def cell(values: Sequence[float], digits: int) -> str:
    """Mean over seeds, with their standard deviation where there are several."""
    mean = f"{np.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {np.std(values, ddof=1):.{digits}f}"


class Redox:
    """Errors of vertical ionisation potentials and electron affinities of the neutral test molecules.

    A molecule that lacks a charge state is left out where that is needed.
    """

    def __init__(self, train: list[AtomicData], test: list[AtomicData]):
        labelled = labelled_reactivity(test)
        neutral = {frame.group: frame for frame in test if float(frame.total_charge) == 0}
        groups = [group for group in labelled if group in neutral]
        self.frames = [neutral[group] for group in groups]
        self.labels = vertical([labelled[group] for group in groups])
        self.train_mean = np.nanmean(vertical(list(labelled_reactivity(train).values())), axis=0)

    def errors(self, predicted: np.ndarray) -> np.ndarray:
        """Mean absolute errors of IP and EA in eV, (2,)."""
        return np.nanmean(np.abs(predicted - self.labels), axis=0)

    def of_model(self, model: Potential) -> np.ndarray:
        """The same of a model."""
        return self.errors(vertical(reactivity(model, self.frames, multiplicities=(2, 2))))

    def table(self, errors: dict[str, list[np.ndarray]]) -> str:
        """A row for each model, and one for the mean over the training set."""
        known = np.isfinite(self.labels).sum(axis=0)
        rows = {"mean of the training set": [self.errors(self.train_mean)], **errors}
        lines = [f"| MAE (eV) | IP, {known[0]} molecules | EA, {known[1]} molecules |", "|---|---:|---:|"]
        for name, of_seeds in rows.items():
            lines.append(f"| {name} | {' | '.join(cell(values, 3) for values in zip(*of_seeds, strict=True))} |")
        return "\n".join(lines)


def pass_table(found: dict[str, list[Columns]], kind: str) -> str:
    """A row for each pass of each model, in me and 10⁻³.

    Args:
        found: `differences` of each seed, by model.
        kind: Which of `ERRORS`.
    """
    columns = [(label, title) for label in LABELS for title in FRAMES]
    titles = " | ".join(f"{LABELS[label]}, {title}" for label, title in columns)
    lines = [f"| {kind} (10⁻³ e) | seeds | pass | {titles} |", "|---|---:|---:|" + "---:|" * len(columns)]
    for name, seeds in found.items():
        errors = np.array(
            [[ERRORS[kind](seed[column]) for column in columns] for seed in seeds]
        )  # seeds, columns, passes
        for index in range(errors.shape[2]):
            place = str(index + 1) if errors.shape[2] > 1 else "last"
            cells = " | ".join(cell(values, 1) for values in errors[:, :, index].T)
            lines.append(f"| {name} | {len(seeds)} | {place} | {cells} |")
    return "\n".join(lines)


def figure(found: dict[str, list[Columns]], path: Path) -> None:
    """MAE over passes with the range of the seeds; models that have charges at the end only are dashed lines."""
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(7, 3), layout="constrained")
    panels = {
        ("charges", "all frames"): "charges (me)",
        ("spin_charges", "open shells"): "spin charges, open shells (10⁻³)",
    }
    for axes, (column, title) in zip(canvas.subplots(1, 2), panels.items(), strict=True):
        for index, (name, seeds) in enumerate(found.items()):
            values, colour = np.array([ERRORS["MAE"](seed[column]) for seed in seeds]), f"C{index}"
            mean = values.mean(axis=0)
            if len(mean) > 1:
                bars = np.stack([mean - values.min(axis=0), values.max(axis=0) - mean])
                axes.errorbar(range(1, len(mean) + 1), mean, bars, marker="o", capsize=3, color=colour, label=name)
            else:
                axes.axhline(mean[0], linestyle="--", color=colour, label=name)
        axes.set(title=title, xlabel="pass", xticks=(1, 2, 3), ylabel="mean absolute error", ylim=(0, None))
    axes.legend(frameon=False)
    canvas.savefig(path, dpi=150)


def main(data: Path, output: Path) -> None:
    """Writes ``table.md`` and ``passes.png`` and prints the tables."""
    torch.set_num_threads(1)
    train, test = (read_frames(data / f"{name}.extxyz.gz") for name in ("train", "test"))
    redox = Redox(train, test)
    found: dict[str, list[Columns]] = {}
    energies: dict[str, list[np.ndarray]] = {}
    for name, folder in runs(output):
        model = eqff.load(folder)
        found.setdefault(name, []).append(differences(model, test))
        energies.setdefault(name, []).append(redox.of_model(model))
    tables = [*(pass_table(found, kind) for kind in ERRORS), redox.table(energies)]
    (output / "table.md").write_text("\n\n".join(tables) + "\n", encoding="utf-8")
    figure(found, output / "passes.png")
    print("\n\n".join(tables))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
