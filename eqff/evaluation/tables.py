"""Errors as tables, for the terminal and in markdown."""

from __future__ import annotations

import numpy as np
from rich.console import Group
from rich.table import Table
from rich.text import Text

from eqff.evaluation.calibration import Calibration, Doubts, calibrations
from eqff.evaluation.evaluation import Evaluation
from eqff.evaluation.metrics import Errors

PARTS = {
    "element": "By element",
    "state": "By charge and spin state",
    "group": "By group",
    "pass": "By pass",
    "cluster": "By cluster of learned features, the worst first",
}
Row = list[str]


def rich_report(evaluation: Evaluation) -> Group:
    """For ``rich.print``: the table of errors, the tables of parts, the notes."""
    shown: list[Table | Text] = []
    for title, rows in tables(evaluation):
        table = Table(title=Text(title), title_justify="left")  # names of users are no markup
        for index, column in enumerate(map(Text, rows[0])):
            table.add_column(column, justify="right" if index else "left")
        for row in rows[1:]:
            table.add_row(*map(Text, row))
        shown.append(table)
    return Group(*shown, *(Text(f"Note: {note}") for note in evaluation.notes))


def markdown(evaluation: Evaluation) -> str:
    """The same tables and notes for a report."""
    blocks = []
    for title, rows in tables(evaluation):
        head, *body = [f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |" for row in rows]
        rule = "|---" + "|---:" * (len(rows[0]) - 1) + "|"
        blocks.append("\n".join([f"### {title}", "", head, rule, *body]))
    blocks += [f"Note: {note}" for note in evaluation.notes]
    return "\n\n".join(blocks) + "\n"


def tables(evaluation: Evaluation) -> list[tuple[str, list[Row]]]:
    """Title and rows of each table, the first row being the heads; the overall table comes first."""
    size = f"{evaluation.name}: {len(evaluation.frames)} frames, {evaluation.num_atoms} atoms"
    if not evaluation.errors:
        return [(size, [["", "frames"], ["predicted", str(len(evaluation.frames))]])]
    units = evaluation.units()
    overall = [["quantity", "unit", "MAE", "RMSE", "max", "bias", "frames"]]
    for name, errors in evaluation.errors.items():
        samples = evaluation.samples[name]
        scalar = samples.reference.shape[1] == 1  # the mean over components of vectors says nothing
        numbers = map(number, (errors.mae, errors.rmse, errors.max))
        bias = number(errors.bias) if scalar else ""
        overall.append([spoken(name), units[name], *numbers, bias, str(samples.labelled)])
    result = [(size, overall)]
    for kind, title in PARTS.items():
        parts = evaluation.parts.get(kind, {})
        if len(parts) > 1:
            result.append((f"{title}: MAE", _part_rows(kind, parts, units)))
    if found := calibrations_of(evaluation):
        result.append(("Uncertainty against errors", _uncertainty_rows(found)))
    return result


def calibrations_of(evaluation: Evaluation) -> dict[str, tuple[Doubts, Calibration]]:
    """Uncertainties against errors, by quantity; empty where the model has none."""
    return calibrations(evaluation.frames, evaluation.predictions)


def _uncertainty_rows(found: dict[str, tuple[Doubts, Calibration]]) -> list[Row]:
    """A scale above 1 is by how much the model trusts itself too much; see `eqff.evaluation.calibration`."""
    rows = [["quantity", "unit", "mean", "scale", "NLL", "NLL scaled", "miscalibration", "rank correlation"]]
    for name, (each, score) in found.items():
        values = (each.sigmas.mean(), score.scale, score.nll, score.nll_scaled)
        values += (score.miscalibration_area, score.rank_correlation)
        rows.append([spoken(name), each.unit, *map(number, map(float, values))])
    return rows


def _part_rows(kind: str, parts: dict[str, dict[str, Errors]], units: dict[str, str]) -> list[Row]:
    present = [name for name in units if any(name in found for found in parts.values())]
    rows = [[kind, *(f"{spoken(name)} ({units[name]})" for name in present)]]
    for part, found in parts.items():
        rows.append([part, *(number(found[name].mae) if name in found else "" for name in present)])
    return rows


def number(value: float) -> str:
    """Three significant digits, without an exponent where that is readable."""
    return f"{value:.3g}" if abs(value) < 999.5 or not np.isfinite(value) else f"{value:.0f}"


def spoken(name: str) -> str:
    """A name for people: underscores become blanks."""
    return name.replace("_", " ")
