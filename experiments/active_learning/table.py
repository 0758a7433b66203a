"""The table and the figure of the experiment: errors on the test set against labels.

python table.py OUTPUT_FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from eqff.tracking.plots import BLUE, GREY, VERMILION, grid, save_figure, styled

METRICS = {
    "test/energy_per_atom_mae": "energy MAE (meV/atom)",
    "test/energy_per_atom_rmse": "energy RMSE (meV/atom)",
    "test/forces_mae": "forces MAE (meV/Å)",
    "test/forces_rmse": "forces RMSE (meV/Å)",
}
COLOURS = {"active": VERMILION, "random": BLUE, "full": GREY}

Found = dict[int, dict[int, dict[str, float]]]
"""Number of labels to seed to metrics."""


def rounds(folder: Path, kind: str) -> Found:
    """Metrics of all finished rounds of all seeds."""
    found: Found = {}
    for path in sorted(folder.glob(f"{kind}_seed*/round_*/result.json")):
        row = json.loads(path.read_text())
        found.setdefault(row["labels"], {})[_seed(path.parents[1])] = row["metrics"]
    return found


def whole_pool(folder: Path) -> Found:
    """The same of the trainings on the whole pool."""
    found: Found = {}
    for path in sorted(folder.glob("full_seed*/result.json")):
        result, splits = json.loads(path.read_text()), json.loads((path.parent / "data_report.json").read_text())
        if not result["interrupted"]:
            found.setdefault(_frames(splits), {})[_seed(path.parent)] = result["metrics"]
    return found


def _frames(report: dict) -> int:
    return int(report.get("sets", report)["train"]["frames"])


def _seed(folder: Path) -> int:
    return int(folder.name.rpartition("seed")[2])


def table(found: dict[str, Found]) -> str:
    """Markdown: mean ± standard deviation over seeds."""
    lines = [
        "| chosen | labels | seeds | " + " | ".join(METRICS.values()) + " |",
        "|---|---:|---:" + "|---:" * len(METRICS) + "|",
    ]
    for kind, by_labels in found.items():
        for labels, seeds in sorted(by_labels.items()):
            cells = [spread([metrics[name] for metrics in seeds.values()]) for name in METRICS]
            lines.append(f"| {kind} | {labels} | {len(seeds)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def spread(values: list[float]) -> str:
    """Mean, and standard deviation where there are several."""
    text = f"{np.mean(values):.1f}"
    return text if len(values) < 2 else f"{text} ± {np.std(values, ddof=1):.1f}"


@styled
def figure(found: dict[str, Found]) -> Figure:
    """Every seed as a thin line, the mean as a thick one, the whole pool as a band of its seeds."""
    drawn, axes = grid(len(METRICS), (3.6, 2.9))
    for ax, (name, text) in zip(axes, METRICS.items(), strict=True):
        for kind in ("active", "random"):
            for seed in sorted({seed for seeds in found[kind].values() for seed in seeds}):
                points = [(n, seeds[seed][name]) for n, seeds in sorted(found[kind].items()) if seed in seeds]
                ax.plot(*zip(*points, strict=True), color=COLOURS[kind], linewidth=0.6, alpha=0.6)
            means = [(n, np.mean([m[name] for m in seeds.values()])) for n, seeds in sorted(found[kind].items())]
            if means:
                ax.plot(*zip(*means, strict=True), "o-", color=COLOURS[kind], label=kind)
        values = [metrics[name] for seeds in found["full"].values() for metrics in seeds.values()]
        if values:
            ax.axhspan(min(values), max(values), color=COLOURS["full"], alpha=0.25, linewidth=0)
            ax.axhline(float(np.mean(values)), color=COLOURS["full"], label="whole pool (2000)")
        ax.axvline(600, color="black", linewidth=0.8, linestyle=":", label="30 % of the labels")
        ax.set(xlabel="labels", ylabel=text, yscale="log")
        ax.legend()
    return drawn


def main() -> None:
    """Writes ``table.md`` and ``active_learning.png``."""
    folder = Path(sys.argv[1])
    found = {"active": rounds(folder, "active"), "random": rounds(folder, "random"), "full": whole_pool(folder)}
    (folder / "table.md").write_text(table(found))
    save_figure(figure(found), folder / "active_learning.png")
    print(table(found))


if __name__ == "__main__":
    main()
