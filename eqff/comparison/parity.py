"""Predictions against labels of every row of a comparison, from the structures that runs have saved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import iread
from matplotlib.figure import Figure

from eqff.comparison.comparison import Group
from eqff.comparison.rows import Row
from eqff.comparison.run import quantity_of
from eqff.comparison.tables import unit_of
from eqff.data import fields as field_table
from eqff.tracking.error_plots import Panel, parity

_PREDICTED = "predicted_"
_FIELDS = {"energy_per_atom": "energy", "virial_per_atom": "virial"}
_MOST_ROWS = 12


def parity_figures(group: Group, part: str) -> Iterator[tuple[str, Figure]]:
    """A figure for each quantity of a test set that is shown, with a panel for each row: of its first run.

    Args:
        group: Rows without saved predictions have no panel.
        part: The test set.
    """
    rows = [row for row in group.rows if part in row.runs[0].predictions][:_MOST_ROWS]
    frames = [_read(row.runs[0].predictions[part]) for row in rows]
    for metric in group.metrics:
        if not (metric.startswith(f"{part}/") and metric.endswith("_mae")):
            continue
        quantity = quantity_of(metric)
        field = _FIELDS.get(quantity, quantity)
        panels = [_panel(row, read, field, metric) for row, read in zip(rows, frames, strict=True)]
        panels = [panel for panel in panels if panel is not None]
        if panels:
            yield quantity, parity(panels)


def _read(path: Path) -> list[Atoms]:
    return list(iread(str(path), format="extxyz"))


def _panel(row: Row, frames: Sequence[Atoms], field: str, metric: str) -> Panel | None:
    """One row's predictions in the field's own unit; None if its file doesn't have both."""
    pairs = [(_value(atoms, field), _value(atoms, _PREDICTED + field), atoms) for atoms in frames]
    # ASE keeps a stress as six numbers, predictions have nine: no panel for it
    known = [pair for pair in pairs if pair[0] is not None and pair[1] is not None and pair[0].size == pair[1].size]
    if not known:
        return None
    reference, predicted = (np.concatenate([pair[index].ravel() for pair in known]) for index in (0, 1))
    if field == "energy":
        from eqff.evaluation.report import composition_baseline

        baseline = composition_baseline([atoms for *_, atoms in known], reference)
        reference, predicted = reference - baseline, predicted - baseline
    error, unit = row.runs[0].metrics.get(metric), unit_of([row], metric)
    note = "" if error is None else f"MAE {error:.3g} {unit}"
    return Panel(row.label, field_table.field(field).unit, reference, predicted, note)


def _value(atoms: Atoms, name: str) -> np.ndarray | None:
    """A label or prediction where ASE's reader of extxyz has put it."""
    for place in (atoms.arrays, atoms.info, atoms.calc.results if atoms.calc else {}):
        if name in place:
            return np.asarray(place[name], dtype=float)
    return None
