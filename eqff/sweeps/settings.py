"""What is set about a sweep itself, as ``sweep.NAME=VALUE`` on its command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from eqff.config import settings
from eqff.errors import ConfigError
from eqff.ranges import Count, Seed

PREFIX = "sweep."


@dataclass(frozen=True)
class SweepSettings:
    """How a sweep is run.

    Attributes:
        folder: Of the sweep: its runs and its table. None for one whose name follows from the command, so that the same
            command finds it again.
        launcher: "local" (processes on this machine) or "slurm" (jobs of a queue, through submitit).
        workers: How many runs at a time; None for one on this machine, for all of them on a queue.
        slurm: What a job asks for, as submitit and sbatch call it: ``timeout_min``, ``partition``, ``gpus_per_node``,
            ``cpus_per_task``, ``mem_gb``... ``cluster: local`` tries it out on this machine.
        search: "grid" (all combinations), or "tpe" or "random" (Optuna; intervals allowed).
        trials: Number of runs of a search.
        metric: What a search makes small; None for ``training.monitor``.
        pruner: Whether a search ends trials that fall behind: "none", "median" or "hyperband".
        seed: Of the search.
        wandb: A file to write a W&B sweep to (``wandb sweep FILE``), instead of running anything.
    """

    folder: str | None = None
    launcher: Literal["local", "slurm"] = "local"
    workers: Count | None = None
    slurm: Mapping[str, Any] = field(default_factory=dict)
    search: Literal["grid", "tpe", "random"] = "grid"
    trials: Count | None = None
    metric: str | None = None
    pruner: Literal["none", "median", "hyperband"] = "none"
    seed: Seed = 0
    wandb: str | None = None

    def __post_init__(self) -> None:
        if self.search == "grid" and (self.trials is not None or self.pruner != "none"):
            raise ConfigError("sweep.trials and sweep.pruner belong to a search: give sweep.search=tpe too.")
        if self.search != "grid" and self.trials is None:
            raise ConfigError(f"sweep.search={self.search} needs sweep.trials, the number of runs.")
        if self.search == "tpe" and self.launcher == "slurm" and self.workers is None:
            raise ConfigError(
                "sweep.search=tpe chooses runs by those that have ended: give sweep.workers, how many may be in the "
                "queue at a time, such as sweep.workers=8. All at once would be chosen at random."
            )


def take_settings(argv: Sequence[str]) -> tuple[SweepSettings, list[str]]:
    """What is set about the sweep, and the other arguments.

    Raises:
        ConfigError: An unknown setting, or a value that it can't have.
    """
    rest = [text for text in argv if not text.lstrip("+").startswith(PREFIX)]
    values: dict[str, Any] = {}
    for text in argv:
        if text.lstrip("+").startswith(PREFIX):
            key, value = _read(text.lstrip("+"))
            _put(values, key.removeprefix(PREFIX).split("."), value, key)
    return settings(SweepSettings, values, "sweep"), rest


def _read(text: str) -> tuple[str, Any]:
    try:
        override = OverridesParser.create().parse_override(text)
    except HydraException as error:
        raise ConfigError(f"'{text}' can't be read as KEY=VALUE.") from error
    if override.is_sweep_override():
        raise ConfigError(f"'{text}': a setting of the sweep itself has one value.")
    return override.key_or_group, override.value()


def _put(values: dict[str, Any], names: Sequence[str], value: Any, key: str) -> None:
    for name in names[:-1]:
        values = values.setdefault(name, {})
        if not isinstance(values, dict):
            raise ConfigError(f"'{key}' is set twice, in two ways.")
    values[names[-1]] = value
