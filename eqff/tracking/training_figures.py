"""Learning curves of a run from its metric rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eqff.tracking.plots import Curve, learning_curves, save_figure

_CURVES = ("loss", "energy_per_atom_mae", "forces_mae", "charges_mae", "dipole_mae", "stress_mae")
_COURSE = ("learning_rate", "train/gradient_norm", "train/clipped_share", "train/structures_per_second")


def training_figures(rows: Sequence[Mapping[str, Any]], units: Mapping[str, str], folder: Path) -> dict[str, Path]:
    """Draws errors of training and validation, and how the training went, over steps.

    Args:
        rows: As `eqff.tracking.metric_files.read_metrics` gives them.
        units: Unit of each metric.
        folder: Where the figures go.

    Returns:
        Their paths by name; none where no row was written.
    """
    errors = {name: [_curve(rows, f"{split}/{name}", split) for split in ("train", "val")] for name in _CURVES}
    errors = {name: [c for c in curves if len(c.x)] for name, curves in errors.items()}
    course = {name.removeprefix("train/"): [_curve(rows, name, name)] for name in _COURSE}
    figures = {}
    for title, curves in (("learning_curves", errors), ("course", course)):
        present = {name: lines for name, lines in curves.items() if any(len(line.x) for line in lines)}
        if present:
            short = {name.split("/")[-1]: unit for name, unit in units.items()}
            figures[title] = save_figure(learning_curves(present, "step", short), folder / f"{title}.png")
    return figures


def _curve(rows: Sequence[Mapping[str, Any]], name: str, label: str) -> Curve:
    points = [(row["step"], row[name]) for row in rows if name in row]
    return Curve(label, [x for x, _ in points], [y for _, y in points])
