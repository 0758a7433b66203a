"""Errors and cost of finished runs as Markdown tables and a figure: python table.py OUTPUT_FOLDER."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

from eqff.tracking.costs import continued
from eqff.tracking.metric_rows import read_metrics

SCHEMES = ("short_range", "input", "inferred", "nse", "qeq", "hdnnp_4g", "sqe", "latent", "lode", "bpopnn")
ERRORS = {
    "ag3_ions": {
        "test/energy_per_atom_rmse": "energy RMSE (meV/atom)",
        "test/forces_rmse": "force RMSE (meV/Å)",
    },
    "charged_dimers": {
        "val/energy_mae": "energy MAE, within the range (meV)",
        "far/energy_mae": "energy MAE, beyond (meV)",
        "far/forces_mae": "force MAE, beyond (meV/Å)",
    },
    "ions": {
        "test/energy_mae": "energy MAE (meV)",
        "test/forces_mae": "force MAE (meV/Å)",
        "test/charges_mae": "charge MAE (me)",
        "far_pairs/energy_mae": "far pairs, energy MAE (meV)",
        "far_pairs/forces_mae": "far pairs, force MAE (meV/Å)",
        "unseen_molecules/forces_mae": "unseen molecules, force MAE (meV/Å)",
    },
    "carbene_spin": {"test/energy_mae": "energy MAE (meV)", "test/forces_mae": "force MAE (meV/Å)"},
    "hdnnp4g_carbon_chain": {
        "test/energy_mae": "energy MAE (meV)",
        "test/forces_mae": "force MAE (meV/Å)",
        "test/charges_mae": "charge MAE (me)",
    },
}
COST = "CPU ms a step"


def cost(folder: Path) -> float:
    """CPU milliseconds of a step, validations included, start-up not; NaN where there is one row of metrics only."""
    rows = continued(read_metrics(folder))
    (first, start), (last, end) = ((row["step"], row["cpu_seconds"]) for row in (rows[0], rows[-1]))
    return 1000 * (end - start) / (last - first) if last > first else float("nan")


def finished(folder: Path) -> dict[str, dict[str, list[float]]]:
    """Metrics of the finished runs of one data set: by scheme and metric, a number for each seed."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for path in sorted(folder.glob("*/result.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        if not result["interrupted"]:
            scheme = path.parent.name.rsplit("-", 1)[0]
            for name, value in {**result["metrics"], COST: cost(path.parent)}.items():
                found[scheme][name].append(value)
    return found


def cell(values: list[float], best: bool) -> str:
    """Mean and standard deviation over seeds."""
    if not values:
        return "–"
    mean = f"**{np.mean(values):.3g}**" if best else f"{np.mean(values):.3g}"
    return f"{mean} ± {np.std(values, ddof=1):.2g}" if len(values) > 1 else mean


def table(name: str, found: dict[str, dict[str, list[float]]]) -> str:
    """One data set, a row for each scheme; the least mean in bold."""
    columns = {**ERRORS[name], COST: COST}
    least = {key: min((np.mean(runs[key]) for runs in found.values() if runs[key]), default=None) for key in columns}
    lines = [f"| {name} | seeds | {' | '.join(columns.values())} |", "|---|---:|" + "---:|" * len(columns)]
    for scheme in (scheme for scheme in SCHEMES if scheme in found):
        runs = found[scheme]
        cells = [cell(runs[key], bool(runs[key]) and np.mean(runs[key]) == least[key]) for key in columns]
        lines.append(f"| {scheme} | {len(runs[COST])} | {' | '.join(cells)} |")
    return "\n".join(lines)


def figure(found: dict[str, dict[str, dict[str, list[float]]]], path: Path) -> None:
    """A panel for each data set and its first errors; a point for each seed, a bar at their mean."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    panels = [
        (name, key, title) for name in found for key, title in list(ERRORS[name].items())[:4] if "charge" not in title
    ]
    schemes = [scheme for scheme in SCHEMES if any(scheme in runs for runs in found.values())]
    rows = -(-len(panels) // 3)
    canvas = Figure(figsize=(12, 2.6 * rows), layout="constrained")
    places = list(canvas.subplots(rows, 3, squeeze=False).flat)
    for axes in places[len(panels) :]:
        axes.set_axis_off()
    for axes, (name, key, title) in zip(places, panels, strict=False):
        for place, scheme in enumerate(schemes):
            values = found[name].get(scheme, {}).get(key, [])
            if values:
                axes.plot(values, [place] * len(values), "o", color="C0", alpha=0.6)
                axes.plot([np.mean(values)], [place], "|", color="black", markersize=14)
        axes.set_xscale("log")
        low, high = axes.get_xlim()
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set(xlabel=title, title=name, yticks=range(len(schemes)), yticklabels=schemes)
        axes.invert_yaxis()
        axes.grid(axis="x", alpha=0.3)
    canvas.savefig(path, dpi=120)


def main(output: Path) -> None:
    """Writes ``table.md`` and ``errors.png`` and prints the tables."""
    found = {name: finished(output / name) for name in ERRORS if (output / name).is_dir()}
    text = "\n\n".join(table(name, runs) for name, runs in found.items() if runs) + "\n"
    (output / "table.md").write_text(text, encoding="utf-8")
    figure({name: runs for name, runs in found.items() if runs}, output / "errors.png")
    print(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
