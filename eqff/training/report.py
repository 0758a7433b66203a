"""The report of a run in markdown: what was trained on what, how, at what cost, and how good it is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from eqff.evaluation.evaluation import Evaluation
from eqff.evaluation.quantities import quantities
from eqff.evaluation.tables import markdown, number
from eqff.training.preparation import Preparation, describe_model
from eqff.training.resuming import resume_command

_SUMMARY = ("energy_per_atom", "energy", "forces", "dipole", "charges")
"""Quantities of the table of results, which has those of the other losses too."""


@dataclass(frozen=True)
class ReportContent:
    """What goes into the report.

    Attributes:
        prepared: The run.
        budget: Total and used of each limit.
        kept: Which weights became the model: "best" or "last".
        interrupted: Whether the run was told to stop.
        metrics: Of the kept weights.
        evaluations: By test set.
        figures: Of the training, by name.
        simulation: What a molecular dynamics said about itself; empty if there was none.
    """

    prepared: Preparation
    budget: Mapping[str, Mapping[str, float]]
    kept: str
    interrupted: bool
    metrics: Mapping[str, float]
    evaluations: Mapping[str, Evaluation]
    figures: Mapping[str, Path]
    simulation: Mapping[str, Any]


def run_report(content: ReportContent) -> str:
    """The text."""
    folder = content.prepared.folder.path
    parts = [f"# {folder.name}", _state(content), "## Result", _summary(content)]
    if content.prepared.start:
        parts += ["## Before and after", _before_and_after(content)]
    parts += ["## Training", _training(content)]
    parts += [_image(name, path, folder) for name, path in content.figures.items()]
    for name, evaluation in content.evaluations.items():
        parts += [f"## Test set {name}", markdown(evaluation).strip()]
        files = sorted((folder / "evaluation").glob(f"{name}_*.png"))
        wanted = (f"{name}_parity", f"{name}_errors")
        parts += [_image(path.stem, path, folder) for path in files if path.stem in wanted]
    if content.simulation:
        parts += ["## Molecular dynamics", _simulation(content, folder)]
    parts += ["## Use", _use(content)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _state(content: ReportContent) -> str:
    if content.interrupted:
        return f"Stopped before its budget ended. To go on: `{resume_command(content.prepared.folder)}`"
    return ""


def summary_rows(content: ReportContent) -> list[list[str]]:
    """Mean absolute errors, a row per set, the first row being the heads; empty if none were measured."""
    units = {name: unit for e in content.evaluations.values() for name, unit in e.units().items()}
    for name, unit in content.prepared.module.validation_errors.units.items():
        units.setdefault(name.removesuffix("_mae").removesuffix("_rmse"), unit)
    sets = ["val", *content.evaluations]
    trained = [q.name for label in content.prepared.settings.losses.labels for q in quantities(label)]
    columns = [
        name for name in dict.fromkeys((*_SUMMARY, *trained)) if any(f"{s}/{name}_mae" in content.metrics for s in sets)
    ]
    rows = [["mean absolute error", *(f"{name.replace('_', ' ')} ({units[name]})" for name in columns)]]
    for name in sets:
        values = [content.metrics.get(f"{name}/{column}_mae") for column in columns]
        if any(value is not None for value in values):
            rows.append([name, *("" if value is None else number(value) for value in values)])
    return rows if columns else []


def summary_table(content: ReportContent) -> Table:
    """The same for the terminal."""
    rows = summary_rows(content)
    table = Table(*rows[0]) if rows else Table()
    for row in rows[1:]:
        table.add_row(*row)
    return table


def _summary(content: ReportContent) -> str:
    rows = summary_rows(content)
    if not rows:
        return "No errors were measured: there is neither a validation nor a test set."
    head, *body = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([head, "|---" + "|---:" * (len(rows[0]) - 1) + "|", *body])


def _before_and_after(content: ReportContent) -> str:
    """What fine-tuning changed: mean absolute errors of the model that it began with, and of the one it ended with."""
    start, rows = content.prepared.start, []
    for name, value in start.before.items():
        after = content.metrics.get(name)
        if name.endswith("_mae") and after is not None:
            part, _, quantity = name.removesuffix("_mae").partition("/")
            rows.append(f"| {part} | {quantity.replace('_', ' ')} | {number(value)} | {number(after)} |")
    table = ["| set | mean absolute error | before | after |", "|---|---|---:|---:|", *rows] if rows else []
    return "\n\n".join(part for part in ("\n".join(table), str(start)) if part)


def _training(content: ReportContent) -> str:
    prepared = content.prepared
    frames = ", ".join(f"{name} {len(found)}" for name, found in prepared.data.frames.items() if found)
    used = "; ".join(f"{v['used']:.5g} of {v['total']:.5g} {name}" for name, v in content.budget.items())
    states = [
        f"- {describe_model(prepared.module.potential)}",
        f"- Frames: {frames}; data hash `{prepared.data.data_hash[:16]}`",
        f"- Used: {used}",
        f"- Weights kept: {content.kept}" + (" (moving average)" if prepared.settings.training.ema else ""),
        "- Everything else: `config.yaml`, `data_report.txt`, `run.json`; all metrics: `metrics.csv`",
    ]
    return "\n".join(states)


def _simulation(content: ReportContent, folder: Path) -> str:
    lines = [f"- {key.replace('_', ' ')}: {value}" for key, value in content.simulation.items()]
    images = [_image(path.stem, path, folder) for path in sorted((folder / "simulation").glob("*.png"))]
    return "\n".join(lines) + "\n\n" + "\n\n".join(images)


def _image(name: str, path: Path, folder: Path) -> str:
    return f"![{name.replace('_', ' ')}]({os.path.relpath(path, folder)})"


def _use(content: ReportContent) -> str:
    model = content.prepared.folder.path
    return (
        f"```python\nimport eqff\n\nmodel = eqff.load({str(model)!r})\n"
        "atoms.calc = model.calculator(total_charge=0, multiplicity=1)\n```\n\n"
        f"`python -m eqff.evaluate model={model} data.path=FILE output=FOLDER`"
    )
