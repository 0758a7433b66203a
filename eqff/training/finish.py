"""After training: the weights to keep, the model file, test sets, a short simulation, and the report."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from eqff.config import settings
from eqff.evaluation.evaluation import Evaluation, evaluate_potential
from eqff.evaluation.report import write_report
from eqff.tracking.metric_files import read_metrics, write_csv
from eqff.tracking.training_figures import training_figures
from eqff.tracking.wandb import TrackingSettings, finish_tracking
from eqff.training.budget import Budget
from eqff.training.report import ReportContent, run_report, summary_table
from eqff.training.run import Preparation, RunResult, elapsed, keep_weights, save


def finish(prepared: Preparation, budget: Budget, interrupted: bool) -> RunResult:
    """All that comes after the last step; it isn't part of the budget.

    An interrupted run is saved, but neither evaluated nor simulated: it is going to be resumed, or not wanted.

    Args:
        prepared: The run.
        budget: As it was used.
        interrupted: Whether the run was told to stop.
    """
    started, folder, potential = time.perf_counter(), prepared.folder, prepared.module.potential
    kept = keep_weights(prepared)
    rows = read_metrics(folder.path)
    metrics = kept_validation(rows, kept, prepared.cfg["training"]["monitor"])
    save(prepared, metrics)
    potential.metadata = None
    evaluations = {} if interrupted or not prepared.cfg["evaluate"] else evaluate_tests(prepared)
    for evaluation in evaluations.values():
        metrics |= evaluation.metrics()
    if evaluations:
        save(prepared, metrics)
    simulation = {} if interrupted or not prepared.cfg["simulate"] else simulate(prepared)
    figures = training_figures(rows, prepared.module.units, folder.figures) if prepared.cfg["figures"] else {}
    content = ReportContent(prepared, budget, kept, interrupted, metrics, evaluations, figures, simulation)
    prepared.console.print(summary_table(content))
    folder.report.write_text(run_report(content), encoding="utf-8")
    result = {"kept": kept, "interrupted": interrupted, "metrics": metrics, "budget": budget.describe()}
    folder.write_json("result.json", result)
    write_csv(folder.path)
    tracking = settings(TrackingSettings, prepared.cfg["tracking"], "tracking")
    finish_tracking(tracking, metrics, {path.stem: path for path in all_figures(folder.path)})
    done = f"Model: {folder.model}\nReport: {folder.report} (after training: {elapsed(started)})"
    prepared.console.print(done, highlight=False, soft_wrap=True)
    return RunResult(folder.path, potential, metrics, budget.describe(), interrupted)


def kept_validation(rows: list[dict[str, Any]], kept: str, monitor: str) -> dict[str, float]:
    """The validation metrics of the weights that were kept: of the best row, or of the last."""
    validations = [row for row in rows if monitor in row]
    if not validations:
        return {}
    row = min(validations, key=lambda row: row[monitor]) if kept == "best" else validations[-1]
    return {name: value for name, value in row.items() if name.startswith("val/")}


def evaluate_tests(prepared: Preparation) -> dict[str, Evaluation]:
    """Every test set: tables, JSON, figures and predictions in ``evaluation/``."""
    evaluations = {}
    for name, frames in prepared.data.frames.items():
        if name in ("train", "val") or not frames:
            continue
        evaluation = evaluate_potential(prepared.module.potential, frames, name=name)
        write_report(evaluation, prepared.folder.path / "evaluation")
        evaluations[name] = evaluation
    return evaluations


def simulate(prepared: Preparation) -> dict[str, Any]:
    """A short molecular dynamics with the settings of the config's section ``simulate``; what it says about itself."""
    from eqff.simulate import simulate_potential

    return simulate_potential(prepared.module.potential, prepared.cfg["simulate"], prepared.folder.path / "simulation")


def all_figures(folder: Path) -> list[Path]:
    """Every figure below a run's folder, W&B's own copies left out."""
    return sorted(path for path in folder.rglob("*.png") if "wandb" not in path.relative_to(folder).parts)
