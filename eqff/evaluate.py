"""The command that evaluates a model: ``python -m eqff.evaluate model=RUN data.path=FILE`` or ``eqff-evaluate``."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

if TYPE_CHECKING:
    from eqff.data.atomic_data import AtomicData
    from eqff.evaluation import Evaluation
    from eqff.potential import Potential

_log = logging.getLogger(__name__)


def evaluate(cfg: DictConfig) -> Evaluation:
    """Evaluates as the config says and writes the report.

    Args:
        cfg: As composed from ``conf/commands/evaluate.yaml``.

    Raises:
        EqffError: Config, model or data can't be used as they are.
    """
    from eqff.command_line.trained_model import EvaluateSettings, load_for_command, plain_settings
    from eqff.config import settings
    from eqff.data.reading import read_frames
    from eqff.evaluation import write_report
    from eqff.evaluation.clusters import with_clusters
    from eqff.outputs import require_set_name

    values = plain_settings(cfg)
    settings(EvaluateSettings, values, "")  # before the model is loaded
    require_set_name(set_name(values), "name")
    potential = load_for_command(values)
    evaluation = _evaluation(potential, read_frames(**values["data"]), values)
    if values["clusters"]:
        evaluation = with_clusters(evaluation, potential, values["clusters"], values["batch_size"])
    _tell_corrections(potential)
    write_report(evaluation, values["output"], predictions=values["predictions"])
    return evaluation


def _evaluation(potential: Potential, frames: Sequence[AtomicData], values: Mapping[str, Any]) -> Evaluation:
    from eqff.command_line.trained_model import progress_bar
    from eqff.data.differences import require_one_base
    from eqff.data.energy_rows import level_of_theory
    from eqff.evaluation import evaluate_potential

    one_by_one = values["calculator"] or values["base"]  # calculators take them so, and the bar shows each
    if values["calculator"]:
        levels = {level_of_theory(frame) for frame in frames}
        require_one_base(("", *levels), "The calculator and the labels", "Take the labels as they were before")
    with progress_bar("structures", len(frames)) as progress:
        evaluation = evaluate_potential(
            potential,
            frames,
            name=set_name(values),
            labels=values["data"]["labels"],
            batch_size=1 if one_by_one else values["batch_size"],
            outside=values["outside"],
            progress=progress,
        )
    return replace(evaluation, about=evaluated(values))


def evaluated(values: Mapping[str, Any]) -> dict[str, Any]:
    """What a command's settings say is evaluated: ``model`` or ``calculator``, and the ``base`` of a model."""
    from eqff.interfaces.calculators import method_name

    methods = {name: method_name(values[name]) for name in ("calculator", "base") if values[name]}
    return ({"model": values["model"]} if values["model"] else {}) | methods


def _tell_corrections(potential: Potential) -> None:
    from eqff.corrections import names_of_corrections

    if potential.metadata is None:
        return
    if corrections := names_of_corrections(potential.metadata.model_config):
        _log.warning("Errors are without %s, which the model was not trained with either.", ", ".join(corrections))


def set_name(values: Mapping[str, Any]) -> str:
    """The name of the evaluated set: as given, else that of its file or folder without suffixes and slice."""
    if values["name"]:
        return str(values["name"])
    path = values["data"]["path"]
    first = path if isinstance(path, str) else path[0]
    return Path(first.partition("@")[0]).name.partition(".")[0] or "evaluation"


def _from_command_line(cfg: DictConfig) -> None:
    from rich.console import Console

    from eqff.evaluation import rich_report

    evaluation = evaluate(cfg)
    console = Console(width=None if sys.stdout.isatty() else 120)  # of tables in a log file
    console.print(rich_report(evaluation))
    console.print(f"Tables, figures and predictions: {cfg.output}", soft_wrap=True, highlight=False)


def main() -> None:
    """The command."""
    from eqff.command_line.run import run_command

    run_command(_from_command_line, "evaluate", folder="commands")


if __name__ == "__main__":
    main()
