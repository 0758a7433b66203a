"""The command that draws a learning curve: ``python -m eqff.learning_curve sizes=100,200,400 seeds=0,1,2 ...``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eqff.comparison.run import Run
    from eqff.sweeps.learning import LearningCurve
    from eqff.sweeps.planning import Planned

HELP = """\
Trains on nested subsets of a training set and shows how errors fall with its size.

  python -m eqff.learning_curve data.path=train.extxyz data.val=val.extxyz data.test.test=test.extxyz \\
      sizes=100,200,400,800 seeds=0,1,2 trainer.max_steps=20000
  python -m eqff.learning_curve data=ions sizes=250,500,1000,2000 seeds=0,1,2 sweep.launcher=slurm ...

  sizes      numbers of training structures; each subset holds the smaller ones of its seed
  seeds      of weights, order of batches, and choice of the subset (where validation and tests have files of their own;
             with data.split.seed=N all seeds take the same subsets)
  metrics    to show; by default mean absolute errors on test sets, on the validation set where there is no test set

The other settings are those of python -m eqff.train, and of the sweep (python -m eqff.sweep --help). Epochs of a small
subset have few steps: trainer.max_steps gives all sizes the same number. Given again, the same command goes on with
what is left. Leaves learning_curve.md, .csv and .png in the sweep's folder."""


def learning_curve(argv: Sequence[str]) -> tuple[LearningCurve, int]:
    """Runs what is left of a learning curve, and writes table and figure.

    Args:
        argv: As on the command line.

    Returns:
        The curve of all runs that are finished, and the exit code: 0 where nothing is left to do.

    Raises:
        EqffError: A setting is wrong; nothing was started then.
    """
    from rich.console import Console

    from eqff.errors import ConfigError
    from eqff.sweeps.learning import plan_curve, take_own
    from eqff.sweeps.learning_report import write_curve
    from eqff.sweeps.planning import check_runs
    from eqff.sweeps.report import say_what_is_left
    from eqff.sweeps.running import Sweep, exit_code, with_folder
    from eqff.sweeps.settings import take_settings

    console = Console(width=None if sys.stdout.isatty() else 140)
    settings, rest = take_settings(argv)
    if settings.search != "grid" or settings.wandb is not None:
        raise ConfigError("A learning curve has its own runs: sweep.search and sweep.wandb don't belong to it.")
    own, fixed = take_own(rest)
    settings = with_folder(settings, ["learning_curve", *rest])
    folder = Path(settings.folder or "")
    planned = plan_curve(fixed, own["sizes"], own["seeds"], folder)
    check_runs(planned)
    result = Sweep(planned, settings, console).run()
    curve = finished_runs(planned)
    if curve.all_runs:
        write_curve(curve, folder, console, own["metrics"])
    say_what_is_left(result, console)
    return curve, exit_code(result)


def finished_runs(planned: Sequence[Planned]) -> LearningCurve:
    """The curve of those runs that are finished."""
    from eqff.comparison.folders import read_folder
    from eqff.sweeps.learning import LearningCurve
    from eqff.sweeps.progress import Progress, progress

    found: dict[int, dict[int, Run]] = {}
    for run in planned:
        if progress(run.folder) is Progress.FINISHED:
            read = read_folder(run.folder)
            found.setdefault(read.config["data"]["split"]["train"], {})[read.config["seed"]] = read
    return LearningCurve({size: dict(sorted(found[size].items())) for size in sorted(found)})


def _from_command_line(argv: Sequence[str]) -> int:
    return learning_curve(argv)[1]


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    from eqff.command_line.run import run_on_arguments

    run_on_arguments(_from_command_line, HELP, argv)


if __name__ == "__main__":
    main()
