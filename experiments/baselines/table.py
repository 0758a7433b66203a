"""Errors against the number of training frames, as table.md and errors.png: usage: table.py OUTPUT_FOLDER"""

import json
import sys
from collections import defaultdict
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import NullLocator

from eqff.comparison import read_runs

TITLES = {
    "eqff": "eqff, `experiment=equal_cost`",
    "soap": "SOAP kernel (dscribe)",
    "sgdml": "sGDML",
    "gfn2": "GFN2-xTB",
}
COLUMNS = {"test/energy_mae": "energy (meV)", "test/forces_mae": "forces (meV/Å)", "test/forces_rmse": "forces, RMSE"}
OF_A_LEVEL = ("eqff", "soap", "sgdml")
"""Trained on these labels, so that total energies can be compared."""


def collect(output: Path) -> dict[str, dict[int, dict[str, float]]]:
    """Metrics by model and number of frames."""
    found = defaultdict(dict)
    for run in read_runs(output / "evaluations").runs:
        name, _, size = run.name.rpartition("-")
        found[name][int(size)] = dict(run.metrics)
    return found


def cpu_seconds(output: Path, model: str, size: int) -> str:
    """Of fitting, search of hyperparameters included, as it was noted."""
    noted, run = output / "models" / f"{model}-{size}.time", output / "runs" / f"{model}-{size}" / "result.json"
    if run.is_file():
        return f"{json.loads(run.read_text())['budget']['CPU seconds']['used']:.0f}"
    return f"{float(noted.read_text().split()[-1]):.0f}" if noted.is_file() else ""


def table(output: Path, found: dict[str, dict[int, dict[str, float]]]) -> str:
    """Markdown."""
    lines = [f"| model | frames | {' | '.join(COLUMNS.values())} | CPU time of the fit (s) |", "|---|" + "---:|" * 5]
    for model, title in TITLES.items():
        for size, metrics in sorted(found.get(model, {}).items()):
            shown = [
                "–" if "energy" in name and model not in OF_A_LEVEL else f"{metrics[name]:.3g}" for name in COLUMNS
            ]
            lines.append(f"| {title} | {size} | {' | '.join(shown)} | {cpu_seconds(output, model, size)} |")
    return "\n".join(lines)


def figure(found: dict[str, dict[int, dict[str, float]]], path: Path) -> None:
    """Energies and forces side by side."""
    drawn, axes = plt.subplots(1, 2, figsize=(8.4, 3.4))
    ticks = sorted({size for model in OF_A_LEVEL for size in found.get(model, {})})
    for axis, (name, title) in zip(axes, list(COLUMNS.items())[:2], strict=True):
        for model in OF_A_LEVEL:
            sizes = sorted(found.get(model, {}))
            axis.plot(sizes, [found[model][size][name] for size in sizes], "o-", label=TITLES[model].split(",")[0])
        if "forces" in name and "gfn2" in found:
            axis.axhline(found["gfn2"][0][name], color="grey", linewidth=0.8, linestyle="--", label=TITLES["gfn2"])
        axis.set(xscale="log", yscale="log", xlabel="training frames", ylabel=f"MAE of {title}")
        axis.set_xticks(ticks, ticks, minor=False)
        axis.xaxis.set_minor_locator(NullLocator())
        for which in (axis.yaxis.set_major_formatter, axis.yaxis.set_minor_formatter):
            which("{x:g}")
    axes[1].legend(frameon=False)
    drawn.tight_layout()
    drawn.savefig(path, dpi=150)


def main(output: Path) -> None:
    """Table and figure of whatever has been evaluated."""
    found = collect(output)
    text = table(output, found)
    (output / "table.md").write_text(text + "\n")
    print(text)
    figure(found, output / "errors.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
