"""Tables and figure of the experiment.

python table.py OUTPUT_FOLDER
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
from ase.io import read
from matplotlib.figure import Figure

from eqff.tracking.plots import COLOURS, save_figure, styled

KINDS = ("ensemble", "last_layer")
SETS = ("test", "test_unseen_molecules")
SEEDS = range(5)
NONSENSE = 1.0  # eV; a larger error of the energy says nothing about a molecule any more
FEMTOSECONDS = 0.25  # a step
EVERY = 4  # steps between frames


def calibration(folder: Path) -> str:
    """How uncertainties fit errors, by kind, set and quantity."""
    head = "| uncertainty | set | quantity | RMSE | mean uncertainty | scale | miscalibration | rank correlation |"
    lines = [head, "|---|---|---|---:|---:|---:|---:|---:|"]
    for kind in KINDS:
        for name in SETS:
            found = json.loads((folder / "evaluated" / kind / f"{name}.json").read_text())
            for quantity, score in found["uncertainty"].items():
                unit, rmse = found["units"][quantity], found["errors"][quantity]["rmse"]
                mean = _mean(folder / "evaluated" / kind / f"{name}.md", quantity)
                numbers = f"{rmse:.3g} {unit} | {mean} | {score['scale']:.2f} | {score['miscalibration_area']:.3f}"
                numbers += f" | {score['rank_correlation']:.2f}"
                lines.append(f"| {kind.replace('_', ' ')} | {name} | {quantity.replace('_', ' ')} | {numbers} |")
    return "\n".join(lines) + "\n"


def _mean(path: Path, quantity: str) -> str:
    """The mean uncertainty from the table of a report."""
    text = path.read_text().split("Uncertainty against errors")[1]
    row = next(line for line in text.splitlines() if line.startswith(f"| {quantity.replace('_', ' ')} "))
    return row.split("|")[3].strip()


def course(folder: Path) -> dict[str, np.ndarray]:
    """Of a hot run: time in fs, error of the energy in eV, uncertainty of the forces in eV/Å, frame by frame."""
    sidecar = json.loads((folder / "labelled.labels.json").read_text())
    failed = {row["frame"] for row in sidecar["failed"]}
    own = read(folder / "trajectory.extxyz", index=":")
    labelled = read(folder / "labelled.extxyz", index=":")
    kept = [index for index in range(len(own)) if index not in failed]
    errors = [
        own[i].get_potential_energy() - frame.get_potential_energy() for i, frame in zip(kept, labelled, strict=True)
    ]
    with (folder / "uncertainty.csv").open(newline="") as file:
        doubts = {int(row["step"]): float(row["max_force_uncertainty_eV_per_A"]) for row in csv.DictReader(file)}
    steps = [min(EVERY * index, max(doubts)) for index in kept]
    return {
        "time": FEMTOSECONDS * np.array(steps),
        "error": np.abs(errors),
        "doubt": np.array([doubts[step] for step in steps]),
    }


def excursions(folder: Path) -> str:
    """When each run was stopped, and how wrong the energy was until then and later."""
    head = "| seed | 300 K | stopped at (fs) | largest energy error until then (eV) | first error above 1 eV (fs) |"
    lines = [f"{head} largest without threshold (eV) |", "|---|---|---:|---:|---:|---:|"]
    for seed in SEEDS:
        cold = json.loads((folder / f"md/cold{seed}/result.json").read_text())
        stopped = json.loads((folder / f"md/stopped{seed}/result.json").read_text())
        found = course(folder / f"md/hot{seed}")
        when = FEMTOSECONDS * stopped["steps"]
        wrong = found["time"][found["error"] > NONSENSE]
        before = found["error"][found["time"] < when].max()
        cells = [
            "not stopped" if cold["completed"] else f"stopped at {FEMTOSECONDS * cold['steps']:g} fs",
            "never" if stopped["completed"] else f"{when:g}",
            f"{before:.2f}",
            f"{wrong[0]:g}" if len(wrong) else "never",
            f"{found['error'].max():.1f}",
        ]
        lines.append(f"| {seed} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


@styled
def figure(folder: Path, threshold: float) -> Figure:
    """Uncertainty and error of the energy along the hot runs, without anything that stops them."""
    drawn = Figure(figsize=(7.4, 3.2), layout="constrained")
    left, right = drawn.subplots(1, 2)
    for seed, colour in zip(SEEDS, COLOURS, strict=False):
        found = course(folder / f"md/hot{seed}")
        left.plot(found["time"], found["doubt"], color=colour, label=f"seed {seed}")
        right.plot(found["time"], np.maximum(found["error"], 1e-3), color=colour)
        above = np.flatnonzero(found["doubt"] > threshold)
        if len(above):
            right.axvline(found["time"][above[0]], color=colour, linewidth=0.8, linestyle=":")
    left.axhline(threshold, color="black", linewidth=0.8, linestyle="--", label="threshold")
    right.axhline(NONSENSE, color="black", linewidth=0.8, linestyle="--", label="nonsense")
    left.set(yscale="log", xlabel="time (fs)", ylabel="largest uncertainty of a force (eV/Å)")
    right.set(yscale="log", xlabel="time (fs)", ylabel="absolute error of the energy (eV)")
    left.legend()
    right.legend()
    return drawn


def main() -> None:
    """Writes ``table.md`` and ``excursions.png``."""
    folder = Path(sys.argv[1])
    about = json.loads((folder / "ensemble" / "uncertainty.json").read_text())["largest_force_uncertainty"]
    threshold = about["percentile_99_eV_per_A"]
    text = f"{calibration(folder)}\nThreshold {threshold:.3g} eV/Å\n\n{excursions(folder)}"
    (folder / "table.md").write_text(text)
    save_figure(figure(folder, threshold), folder / "excursions.png")
    print(text)


if __name__ == "__main__":
    main()
