"""Errors on new and old frames after fine-tuning, as table.md and errors.png: usage: table.py OUTPUT_FOLDER"""

import json
import sys
from collections import defaultdict
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt

VARIANTS = {
    "before": "not trained further",
    "scratch": "from scratch",
    "full": "fine-tuned, all weights",
    "readouts": "fine-tuned, readouts only",
    "replay": "fine-tuned, all weights, old frames replayed",
}
COLUMNS = {
    "new/energy_per_atom_mae": "new: energy (meV/atom)",
    "new/forces_mae": "new: forces (meV/Å)",
    "new/charges_mae": "new: charges (me)",
    "old/energy_per_atom_mae": "old: energy (meV/atom)",
    "old/forces_mae": "old: forces (meV/Å)",
    "old/charges_mae": "old: charges (me)",
}


def collect(folder: Path) -> dict[str, list[dict[str, float]]]:
    """Metrics of every run of a set, by variant; of one that was fine-tuned also those before its first step."""
    found = defaultdict(list)
    for path in sorted(folder.glob("*/result.json")):
        result = json.loads(path.read_text())
        if result["interrupted"]:
            continue
        variant = path.parent.name.rpartition("-")[0]
        found[variant].append(result["metrics"])
        start = path.parent / "finetune.json"
        if variant == "full" and start.is_file():
            found["before"].append(json.loads(start.read_text())["before"])
    return found


ANOTHER_LEVEL = 1e5
"""meV/atom; energies that are off by more are of another level of theory."""


def cell(values: list[float]) -> str:
    """Mean ± standard deviation; a dash where nothing was measured, or for energies of another level."""
    if not values or np.mean(values) > ANOTHER_LEVEL:
        return "–"
    text = f"{np.mean(values):.3g}"
    return f"{text} ± {np.std(values, ddof=1):.2g}" if len(values) > 1 else text


def table(found: dict[str, list[dict[str, float]]]) -> str:
    """Markdown."""
    lines = ["| | seeds | " + " | ".join(COLUMNS.values()) + " |", "|---|---:|" + "---:|" * len(COLUMNS)]
    for variant, title in VARIANTS.items():
        if runs := found.get(variant):
            cells = [cell([run[column] for run in runs if column in run]) for column in COLUMNS]
            lines.append(f"| {title} | {len(runs)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def figure(sets: dict[str, dict], path: Path) -> None:
    """Force errors on new and old frames, side by side."""
    drawn, axes = plt.subplots(1, len(sets), figsize=(5.2 * len(sets), 3.6), squeeze=False, sharey=True)
    shown = [variant for variant in VARIANTS if any(variant in found for found in sets.values())]
    for axis, (name, found) in zip(axes[0], sets.items(), strict=True):
        for offset, which in ((-0.2, "new"), (0.2, "old")):
            column = f"{which}/forces_mae"
            means = [np.mean([run.get(column, np.nan) for run in found.get(variant, [{}])]) for variant in shown]
            axis.barh(np.arange(len(shown)) + offset, means, 0.38, label=f"{which} frames")
        axis.set(xlabel="MAE of forces (meV/Å)", title=name)
    axes[0, 0].set_yticks(range(len(shown)), [VARIANTS[variant].replace(", ", ",\n") for variant in shown])
    axes[0, 0].invert_yaxis()  # shared: once for all
    axes[0, -1].legend(frameon=False, loc="lower right")
    drawn.tight_layout()
    drawn.savefig(path, dpi=150)


def main(output: Path) -> None:
    """Both sets, as far as they are run."""
    sets = {folder.name: found for folder in sorted(output.iterdir()) if folder.is_dir() and (found := collect(folder))}
    text = "\n\n".join(f"**{name}**\n\n{table(found)}" for name, found in sets.items())
    (output / "table.md").write_text(text + "\n")
    print(text)
    figure(sets, output / "errors.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
