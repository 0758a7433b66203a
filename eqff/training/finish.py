"""After training: the weights to keep, the model file, test sets, a short simulation, and the report."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from eqff.checkpoints.model_file import load_model, save_model
from eqff.data.atomic_data import AtomicData
from eqff.errors import TrainingError
from eqff.evaluation.evaluation import Evaluation, evaluate_potential
from eqff.evaluation.report import write_report
from eqff.evaluation.states import count_states
from eqff.potential import Potential
from eqff.tracking.costs import continued, cost_of
from eqff.tracking.metric_files import write_csv
from eqff.tracking.metric_rows import read_metrics
from eqff.tracking.run_folder import RunFolder
from eqff.tracking.training_figures import training_figures
from eqff.tracking.wandb import Ending, finish_tracking
from eqff.training.callbacks.progress import duration
from eqff.training.checkpoint_io import read_checkpoint
from eqff.training.fitting import Outcome
from eqff.training.preparation import Preparation
from eqff.training.report import ReportContent, run_report, summary_table
from eqff.training.resuming import limits


@dataclass
class RunResult:
    """What a training left.

    Attributes:
        folder: The run folder.
        potential: The model that was kept, ready for evaluation.
        metrics: Of the kept model: ``val/...`` and for each test set ``SET/...``, in the units of the report.
        budget: Total and used of each limit.
        signal: The signal that stopped it before the budget ended; None if none did.
    """

    folder: Path
    potential: Potential
    metrics: dict[str, float]
    budget: dict[str, dict[str, float]]
    signal: int | None = None

    @property
    def interrupted(self) -> bool:
        """Whether it was told to stop before the budget ended."""
        return self.signal is not None


def finish(prepared: Preparation, outcome: Outcome) -> RunResult:
    """All that comes after the last step; it isn't part of the budget.

    An interrupted run is saved, but neither evaluated nor simulated: it is going to be resumed, or not wanted.

    Args:
        prepared: The run.
        outcome: How the fit ended.
    """
    interrupted = outcome.signal is not None
    started, folder, potential = time.perf_counter(), prepared.folder, prepared.module.potential
    kept, step = keep_weights(prepared)
    rows = read_metrics(folder.path)
    metrics = kept_validation(rows, step, prepared.settings.training.monitor)
    save(prepared, metrics)
    with computing_on(outcome.device, potential):
        evaluations = {} if interrupted or not prepared.cfg["evaluate"] else evaluate_tests(prepared)
        for evaluation in evaluations.values():
            metrics |= evaluation.metrics()
        if evaluations:
            save(prepared, metrics)  # once more, now that they are known; a fault in tests would not lose the model
        simulation = {} if interrupted or not prepared.cfg["simulate"] else simulate(prepared)
    figures = training_figures(rows, prepared.module.units, folder.figures) if prepared.cfg["figures"] else {}
    content = ReportContent(prepared, outcome.budget, kept, interrupted, metrics, evaluations, figures, simulation)
    write_results(content, outcome.step)
    pictures = {path.stem: path for path in all_figures(folder.path)}
    cost = cost_of(continued(rows), outcome.budget, outcome.step, None)
    ending = Ending(folder.path, metrics, cost, kept, interrupted, pictures)
    finish_tracking(prepared.settings.tracking, ending)
    prepared.console.print(summary_table(content))
    after = duration(time.perf_counter() - started)
    done = f"Model: {folder.model}\nReport: {folder.report} (after training: {after})"
    prepared.console.print(done, highlight=False, soft_wrap=True)
    return RunResult(folder.path, potential, metrics, outcome.budget, outcome.signal)


def earlier_result(folder: RunFolder) -> RunResult:
    """What a finished run left, read from its folder."""
    result = json.loads(folder.result.read_text(encoding="utf-8"))
    return RunResult(folder.path, load_model(folder.model), result["metrics"], result["budget"])


def write_results(content: ReportContent, step: int | None) -> None:
    """``report.md``, ``result.json`` and ``metrics.csv``."""
    folder = content.prepared.folder
    folder.report.write_text(run_report(content), encoding="utf-8")
    result = {"kept": content.kept, "interrupted": content.interrupted, "metrics": dict(content.metrics)}
    result |= {"step": step, "limits": limits(content.prepared.cfg)}  # by which a resumed run knows that it is finished
    folder.write_json("result.json", result | {"budget": content.budget, "simulation": content.simulation})
    write_csv(folder.path)


def keep_weights(prepared: Preparation) -> tuple[str, int]:
    """Puts the weights to keep into the potential, the average where there is one.

    Returns:
        Which they are, "best" or "last", and after which step.

    Raises:
        TrainingError: There are none.
    """
    folder = prepared.folder
    best = prepared.settings.training.keep == "best" and folder.best_checkpoint.is_file()
    path = folder.best_checkpoint if best else folder.last_checkpoint
    if not path.is_file():
        raise TrainingError("Not a single step was done: the budget ended before training began. Give it more.")
    content = read_checkpoint(path)
    weights = content["state_dict"]
    prefix, potential = "potential.", prepared.module.potential
    potential.load_state_dict({n.removeprefix(prefix): v for n, v in weights.items() if n.startswith(prefix)})
    potential.cpu().eval()
    return "best" if best else "last", int(content["global_step"])


def save(prepared: Preparation, metrics: Mapping[str, float]) -> None:
    """Writes the model file."""
    about = {
        "data_hash": prepared.data.data_hash,
        "states": count_states(prepared.data.frames["train"]),
        "shortest_distance": prepared.data.report["train"].shortest,
        "metrics": dict(metrics),
        "units": prepared.module.validation_errors.units,
        "run": prepared.cfg["name"],
    }
    save_model(
        prepared.folder.model,
        prepared.module.potential,
        model_config=prepared.cfg["model"],
        context=prepared.context,
        metadata=about,
    )


def kept_validation(rows: list[dict[str, Any]], step: int, monitor: str) -> dict[str, float]:
    """The validation metrics of the weights that were kept, those of ``step``; of the last before where it had none."""
    validations = [row for row in rows if monitor in row and row["step"] <= step]
    if not validations:
        return {}
    row = validations[-1]
    return {name: value for name, value in row.items() if name.startswith("val/")}


@contextmanager
def computing_on(device: torch.device, potential: Potential) -> Iterator[None]:
    """The potential is there inside of the block, and on the CPU afterwards."""
    try:
        potential.to(device)
        yield
    finally:
        potential.cpu()


def evaluate_tests(prepared: Preparation) -> dict[str, Evaluation]:
    """Every test set, where the potential is: tables, JSON, figures and predictions in ``evaluation/``."""
    evaluations = {}
    for name, frames in prepared.data.frames.items():
        if name in ("train", "val") or not frames:
            continue
        evaluation = _evaluated(prepared, name, frames)
        write_report(evaluation, prepared.folder.path / "evaluation")
        evaluations[name] = evaluation
    return evaluations


def _evaluated(prepared: Preparation, name: str, frames: Sequence[AtomicData]) -> Evaluation:
    """The evaluation of one set; where a GPU has too little memory for it, this and all that follows is on the CPU."""
    potential = prepared.module.potential
    try:
        return evaluate_potential(potential, frames, name=name)
    except torch.OutOfMemoryError:
        if next(potential.buffers()).device.type == "cpu":
            raise
    potential.cpu()
    text = f"Test set '{name}': more than the memory of the GPU holds; it is evaluated on the CPU."
    prepared.console.print(text, highlight=False, markup=False, soft_wrap=True)
    return evaluate_potential(potential, frames, name=name)


def simulate(prepared: Preparation) -> dict[str, Any]:
    """A short molecular dynamics with the settings of the config's section ``simulate``; what it says about itself."""
    from eqff.simulate import simulate_potential

    return simulate_potential(prepared.module.potential, prepared.cfg["simulate"], prepared.folder.path / "simulation")


def all_figures(folder: Path) -> list[Path]:
    """Every figure below a run's folder, W&B's own copies left out."""
    return sorted(path for path in folder.rglob("*.png") if "wandb" not in path.relative_to(folder).parts)
