"""Tables and figure of the experiment.

python table.py OUTPUT_FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from ase.io import read
from excursion import doubts, usual, validation
from matplotlib.figure import Figure

from eqff.tracking.plots import COLOURS, save_figure, styled

KINDS = ("ensemble", "last_layer")
SETS = ("test", "test_unseen_molecules")
SEEDS = range(10)
CHOSEN_WITH = range(5)  # seeds whose runs at 300 K gave the second threshold
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
    every_step = doubts(folder)
    steps = [min(EVERY * index, len(every_step) - 1) for index in kept]
    return {
        "time": FEMTOSECONDS * np.array(steps),
        "error": np.abs(errors),
        "doubt": every_step[steps],
    }


def excursions(folder: Path) -> str:
    """When each threshold stops a hot run, how wrong the energy was until then, and when it became nonsense."""
    limits = (validation(folder), usual(folder))
    head = "| seed |" + "".join(
        f" {limit:.3g} eV/Å: stopped at (fs) | largest energy error until then (eV) |" for limit in limits
    )
    lines = [f"{head} first error above 1 eV (fs) | largest in 100 fs (eV) |", f"|---|{'---:|' * 6}"]
    for seed in SEEDS:
        every_step, found = doubts(folder / f"md/hot{seed}"), course(folder / f"md/hot{seed}")
        cells = []
        for limit in limits:
            above = np.flatnonzero(every_step > limit)
            when = FEMTOSECONDS * above[0] if len(above) else np.inf
            cells += [f"{when:g}" if len(above) else "never", f"{found['error'][found['time'] <= when].max():.2f}"]
        wrong = found["time"][found["error"] > NONSENSE]
        cells += [f"{wrong[0]:g}" if len(wrong) else "never", f"{found['error'].max():.1f}"]
        lines.append(f"| {seed} | {' | '.join(cells)} |")
        _check_stop(folder / f"md/stopped{seed}", every_step, limits[seed not in CHOSEN_WITH])
    cold = [json.loads((folder / f"md/cold{seed}/result.json").read_text())["completed"] for seed in CHOSEN_WITH]
    return "\n".join(lines) + f"\n\nAt 300 K {sum(cold)} of {len(cold)} runs went to their end.\n"


def _check_stop(run: Path, free: np.ndarray, limit: float) -> None:
    """That the run with a threshold really stopped where the one without it went above."""
    steps = json.loads((run / "result.json").read_text())["steps"]
    above = np.flatnonzero(free > limit)
    if steps != (above[0] if len(above) else len(free) - 1):
        raise SystemExit(f"{run} stopped after {steps} steps, which is not where the free run passed {limit:.3g} eV/Å.")


@styled
def figure(folder: Path) -> Figure:
    """Uncertainty and error of the energy along the hot runs, without anything that stops them."""
    drawn = Figure(figsize=(7.4, 3.2), layout="constrained")
    left, right = drawn.subplots(1, 2)
    for seed, colour in zip(CHOSEN_WITH, COLOURS, strict=False):
        found = course(folder / f"md/hot{seed}")
        left.plot(found["time"], found["doubt"], color=colour, label=f"seed {seed}")
        right.plot(found["time"], np.maximum(found["error"], 1e-3), color=colour)
    for limit, style in ((validation(folder), "--"), (usual(folder), ":")):
        left.axhline(limit, color="black", linewidth=0.8, linestyle=style, label=f"{limit:.2g} eV/Å")
    right.axhline(NONSENSE, color="black", linewidth=0.8, linestyle="--", label="nonsense")
    left.set(yscale="log", xlabel="time (fs)", ylabel="largest uncertainty of a force (eV/Å)")
    right.set(yscale="log", xlabel="time (fs)", ylabel="absolute error of the energy (eV)")
    left.legend()
    right.legend()
    return drawn


def main() -> None:
    """Writes ``table.md`` and ``excursions.png``."""
    folder = Path(sys.argv[1])
    text = f"{calibration(folder)}\n{excursions(folder)}"
    (folder / "table.md").write_text(text)
    save_figure(figure(folder), folder / "excursions.png")
    print(text)


if __name__ == "__main__":
    main()
