"""The command that trains a model: ``python -m eqff.train data.path=my.extxyz`` or ``eqff-train``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from omegaconf import DictConfig

if TYPE_CHECKING:
    from eqff.training.run import RunResult


def train(cfg: DictConfig, overrides: Sequence[str] = (), *, since_process_start: bool = False) -> RunResult:
    """Trains, evaluates and reports as the config says.

    Args:
        cfg: As composed from ``conf/train.yaml``.
        overrides: Those that ``cfg`` was composed with; on ``resume`` they are applied to the config of the old run.
        since_process_start: Whether budgets in seconds count from the start of the process; else from this call.

    Raises:
        EqffError: Config or data can't be used as they are, or training diverged.
    """
    from eqff.training.run import run_training  # imports torch, which --help doesn't wait for

    return run_training(cfg, overrides, since_process_start=since_process_start)


def main() -> None:
    """The command; with ``-m`` it is that of a sweep, unless one of Hydra's own launchers or sweepers is asked for."""
    from eqff.command_line.run import run_command

    hydras = any(text.startswith(("hydra/launcher=", "hydra/sweeper=")) for text in sys.argv)
    if {"-m", "--multirun"} & set(sys.argv[1:]) and not hydras:
        from eqff.sweep import main as sweep

        sweep()
        return
    from eqff.training.finetuning.command_line import with_structure

    run_command(_train_from_command_line, "train", prepare=with_structure)


def _train_from_command_line(cfg: DictConfig) -> None:
    from hydra.core.hydra_config import HydraConfig

    from eqff.interfaces.memory import keep_freed_memory
    from eqff.training.quiet import quiet_libraries

    quiet_libraries()
    keep_freed_memory()
    from eqff.training.callbacks.persistence import Interrupted

    try:
        signal = train(cfg, HydraConfig.get().overrides.task, since_process_start=True).signal
    except Interrupted as stop:
        signal = stop.signal
    if signal is not None:
        sys.exit(128 + signal)  # as shells count them: 130 after Ctrl-C, 143 after SIGTERM


if __name__ == "__main__":
    main()
