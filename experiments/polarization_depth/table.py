"""Errors and cost over the depth of polarization: python table.py OUTPUT_FOLDER."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

from eqff.tracking.costs import continued
from eqff.tracking.metric_rows import read_metrics

DEPTHS = ("none", "direct", "1", "2", "4", "mutual")
ERRORS = {
    "water_dimers": {"test/energy_mae": "energy MAE (meV)", "test/dipole_mae": "dipole MAE (me·Å)"},
    "ion_water": {"test/energy_mae": "energy MAE (meV)", "test/energy_rmse": "energy RMSE (meV)"},
    "ion_pairs": {
        "test/energy_mae": "energy MAE (meV)",
        "test/forces_mae": "force MAE (meV/Å)",
        "test/dipole_mae": "dipole MAE (me·Å)",
        "far_pairs/energy_mae": "far pairs, energy MAE (meV)",
    },
    "spice": {
        "test/energy_mae": "energy MAE (meV)",
        "test/forces_mae": "force MAE (meV/Å)",
        "test/dipole_mae": "dipole MAE (me·Å)",
    },
}
COST = "CPU ms a step"

Found = dict[str, dict[str, list[float]]]


def cost(folder: Path) -> float:
    """CPU milliseconds of a step, validations included, start-up not; NaN where there is one row of metrics only."""
    rows = continued(read_metrics(folder))
    (first, start), (last, end) = ((row["step"], row["cpu_seconds"]) for row in (rows[0], rows[-1]))
    return 1000 * (end - start) / (last - first) if last > first else float("nan")


def finished(folder: Path) -> Found:
    """Metrics of the finished runs of one data set: by depth and metric, a number for each seed."""
    found: Found = defaultdict(lambda: defaultdict(list))
    for path in sorted(folder.glob("*/result.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        if not result["interrupted"]:
            depth = path.parent.name.rsplit("-", 1)[0]
            for name, value in {**result["metrics"], COST: cost(path.parent)}.items():
                found[depth][name].append(value)
    return found


def cell(values: list[float]) -> str:
    """Mean and standard deviation over seeds."""
    if not values:
        return "–"
    return f"{np.mean(values):.3g}" + (f" ± {np.std(values, ddof=1):.2g}" if len(values) > 1 else "")


def table(name: str, found: Found) -> str:
    """One data set, a row for each depth."""
    columns = {**ERRORS[name], COST: COST}
    lines = [f"| {name} | seeds | {' | '.join(columns.values())} |", "|---|---:|" + "---:|" * len(columns)]
    for depth in (depth for depth in DEPTHS if depth in found):
        cells = [cell(found[depth][key]) for key in columns]
        lines.append(f"| {depth} | {len(found[depth][COST])} | {' | '.join(cells)} |")
    return "\n".join(lines)


def figure(found: dict[str, Found], path: Path) -> None:
    """A panel for each data set and error over the depth: a point for each seed, a line through the means."""
    from matplotlib.figure import Figure

    columns = max(len(ERRORS[name]) for name in found)
    canvas = Figure(figsize=(3.2 * columns, 2.6 * len(found)), layout="constrained")
    for row, (name, runs) in zip(canvas.subplots(len(found), columns, squeeze=False), found.items(), strict=True):
        for axes in row[len(ERRORS[name]) :]:
            axes.set_axis_off()
        for axes, (key, title) in zip(row, ERRORS[name].items(), strict=False):
            places = [place for place, depth in enumerate(DEPTHS) if runs.get(depth, {}).get(key)]
            values = [runs[DEPTHS[place]][key] for place in places]
            for place, points in zip(places, values, strict=True):
                axes.plot([place] * len(points), points, "o", color="C0", alpha=0.5)
            axes.plot(places, [np.mean(points) for points in values], color="black", linewidth=1)
            axes.set(title=name, ylabel=title, xticks=range(len(DEPTHS)), xticklabels=DEPTHS, ylim=(0, None))
    canvas.savefig(path, dpi=120)


def main(output: Path) -> None:
    """Writes ``table.md`` and ``depth.png`` and prints the tables."""
    found = {name: finished(output / name) for name in ERRORS if (output / name).is_dir()}
    found = {name: runs for name, runs in found.items() if runs}
    text = "\n\n".join(table(name, runs) for name, runs in found.items()) + "\n"
    (output / "table.md").write_text(text, encoding="utf-8")
    figure(found, output / "depth.png")
    print(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
