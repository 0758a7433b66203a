"""The command that runs many trainings: ``python -m eqff.sweep``, ``eqff-sweep``, or ``python -m eqff.train -m``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eqff.sweeps.running import SweepResult

HELP = """\
Runs many trainings, resumes those that were stopped, skips those that are finished, and compares them.

  python -m eqff.sweep data.path=my.extxyz training.optimizer.lr=0.01,0.005 seed=0,1,2      all 6 combinations
  python -m eqff.train -m data.path=my.extxyz ...                                            the same
  python -m eqff.sweep data.path=my.extxyz model/backbone=equivariant,painn sweep.workers=4  4 at a time
  python -m eqff.sweep data.path=my.extxyz seed='range(0,10)' sweep.launcher=slurm \\
      sweep.slurm.timeout_min=240 sweep.slurm.gpus_per_node=1 sweep.slurm.partition=gpu      jobs of a queue
  python -m eqff.sweep data.path=my.extxyz sweep.search=tpe sweep.trials=50 sweep.pruner=median \\
      'training.optimizer.lr=tag(log,interval(1e-3,1e-1))' model.backbone.channels=16,32,64  a search
  python -m eqff.sweep data.path=my.extxyz seed=0,1,2 sweep.wandb=sweep.yaml                 for wandb sweep and agents

Settings of trainings are those of python -m eqff.train --help, any of them with several values: a,b,c | range(0,10) |
choice(a,b) | interval(0.1,1.0), tag(log,interval(...)), int(interval(1,9)) for searches. Given again, the same command
goes on with what is left.

Settings of the sweep:
  sweep.folder      folder of its runs; by default runs/sweeps/NAME_HASH, the hash being that of the command
  sweep.launcher    local (processes; default) | slurm (jobs, through submitit: pip install 'eqff[sweep]')
  sweep.workers     runs at a time: 1 locally, all on a queue; cores and GPUs are shared out among local ones
  sweep.slurm.NAME  what a job asks for: timeout_min, partition, gpus_per_node, cpus_per_task, mem_gb, ...
  sweep.search      grid (all combinations; default) | tpe | random (Optuna: pip install 'eqff[sweep]')
  sweep.trials      how many runs of a search
  sweep.metric      what a search makes small; by default training.monitor
  sweep.pruner      none (default) | median | hyperband: ends trials of a search that fall behind
  sweep.seed        of a search
  sweep.wandb       file to write a W&B sweep to, instead of running anything"""


def sweep(argv: Sequence[str]) -> SweepResult | None:
    """Runs what is left of a sweep and compares its runs.

    Args:
        argv: As on the command line.

    Returns:
        What became of it; None where it was only written down for W&B.

    Raises:
        EqffError: A setting is wrong, or something is not installed; nothing was started then.
    """
    from rich.console import Console

    from eqff.sweeps.running import make_sweep, with_folder
    from eqff.sweeps.settings import take_settings
    from eqff.sweeps.space import read_space

    console = Console(width=None if sys.stdout.isatty() else 140)
    settings, rest = take_settings(argv)
    space = read_space(rest)
    if settings.wandb is not None:
        from eqff.sweeps.wandb_file import write_wandb_sweep

        text = write_wandb_sweep(space, settings)
        console.print(text, highlight=False, markup=False, soft_wrap=True)
        return None
    planned = make_sweep(space, with_folder(settings, rest), console)
    result = planned.run()
    from eqff.sweeps.report import report

    report(result, console, planned.search)
    return result


def _from_command_line(argv: Sequence[str]) -> int:
    from eqff.sweeps.running import exit_code

    result = sweep(argv)
    return 0 if result is None else exit_code(result)


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    from eqff.command_line.run import run_on_arguments

    argv = sys.argv[1:] if argv is None else argv
    run_on_arguments(_from_command_line, HELP, [text for text in argv if text not in ("-m", "--multirun")])


if __name__ == "__main__":
    main()
