"""Errors, steps and cost of finished runs as a Markdown table: python table.py RUN_FOLDER..."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import eqff
from eqff.tracking.costs import continued
from eqff.tracking.metric_rows import read_metrics

SETS = ("val", "test", "unseen_molecules", "far_pairs")
ERRORS = {"energy_mae": "energy MAE (meV)", "forces_mae": "force MAE (meV/Å)", "forces_rmse": "force RMSE (meV/Å)"}


def cost(folder: Path) -> tuple[int, float]:
    """Steps of a run, and CPU milliseconds for each of them, validations included."""
    rows = continued(read_metrics(folder))
    (first, start), (last, end) = ((row["step"], row["cpu_seconds"]) for row in (rows[0], rows[-1]))
    return last, 1000 * (end - start) / (last - first) if last > first else float("nan")


def main(folders: list[str]) -> None:
    """Prints the tables of some run folders."""
    print("| backbone | parameters | steps | CPU ms a step |\n|---|---:|---:|---:|")
    for folder in map(Path, folders):
        count = sum(p.numel() for p in eqff.load(folder).parameters())
        steps, milliseconds = cost(folder)
        print(f"| {folder.name} | {count:,} | {steps:,} | {milliseconds:.1f} |")
    print("\n| set | error |", " | ".join(Path(folder).name for folder in folders), "|")
    print("|---|---|" + "---:|" * len(folders))
    metrics = [json.loads((Path(folder) / "result.json").read_text(encoding="utf-8"))["metrics"] for folder in folders]
    for name in SETS:
        for key, title in ERRORS.items():
            print(f"| {name} | {title} |", " | ".join(f"{m[f'{name}/{key}']:.4g}" for m in metrics), "|")


if __name__ == "__main__":
    main(sys.argv[1:])
