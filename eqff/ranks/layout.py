"""How many ranks a training has, which one this process is, and who starts them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from eqff.errors import ConfigError, did_you_mean
from eqff.ranks.launchers import Started, started_from_outside

STRATEGIES = ("auto", "ddp")


@dataclass(frozen=True)
class Layout:
    """The ranks of a training.

    Attributes:
        accelerator: "cpu" or "cuda" (or another of Lightning's, for a single process).
        devices: What each machine uses: a number of processes, or the indices of GPUs.
        num_nodes: Machines.
        started: Which rank this process is, if something outside has started it as one.
        ddp: Whether the model is wrapped by `DistributedDataParallel`: there are several ranks, or it was asked for.
    """

    accelerator: str
    devices: int | list[int]
    num_nodes: int = 1
    started: Started | None = None
    ddp: bool = False

    @property
    def local_size(self) -> int:
        """Ranks on each machine."""
        return self.devices if isinstance(self.devices, int) else len(self.devices)

    @property
    def world_size(self) -> int:
        """All ranks."""
        return self.local_size * self.num_nodes

    @property
    def starts_ranks(self) -> bool:
        """Whether this process has to start the ranks, being none itself."""
        return self.world_size > 1 and self.started is None

    @classmethod
    def of(cls, trainer: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> Layout:
        """From the section ``trainer``, and from what torchrun or srun say where one of them has started the process.

        Args:
            trainer: Has accelerator, devices, num_nodes and strategy.
            environment: Variables of the process.

        Raises:
            ConfigError: A number that makes no sense, that the launcher contradicts, or that exceeds the GPUs.
        """
        strategy, nodes = trainer["strategy"], trainer["num_nodes"]
        if strategy not in STRATEGIES:
            raise ConfigError(f"trainer.strategy: no '{strategy}'.{did_you_mean(str(strategy), STRATEGIES)}")
        if not isinstance(nodes, int) or nodes < 1:
            raise ConfigError(f"trainer.num_nodes must be a whole number from 1, not {nodes}.")
        kind = choose_accelerator(trainer["accelerator"])
        layout = cls(kind, _devices(trainer["devices"], kind), nodes, started_from_outside(environment))
        layout = _as_started(layout)
        _check(layout)
        return replace(layout, ddp=layout.world_size > 1 or strategy == "ddp")


def choose_accelerator(name: str) -> str:
    """What "auto" stands for: a GPU of CUDA if there is one, else the CPU (Apple's mps has no float64)."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return "cuda" if name == "gpu" else name


def _devices(value: Any, kind: str) -> int | list[int]:
    """A number of processes or a list of GPUs; "auto" and -1 stand for all GPUs, or for one process on the CPU."""
    if value in ("auto", -1, "-1"):
        return max(torch.cuda.device_count(), 1) if kind == "cuda" else 1
    try:
        if isinstance(value, str):
            value = [int(part) for part in value.split(",")] if "," in value else int(value)
        chosen = [int(part) for part in value] if isinstance(value, list | tuple) else value
    except (TypeError, ValueError):
        chosen = None
    if isinstance(chosen, list) and chosen and min(chosen) >= 0 and len(set(chosen)) == len(chosen) and kind == "cuda":
        return chosen
    if isinstance(chosen, int) and not isinstance(chosen, bool) and chosen >= 1:
        return chosen
    raise ConfigError(
        f"trainer.devices can't be {value!r}: give a number of processes, 'auto' for all GPUs, or GPUs as [0,2]."
    )


def _as_started(layout: Layout) -> Layout:
    """With the numbers of the launcher; those in the config must be its defaults or agree.

    Raises:
        ConfigError: They don't.
    """
    started = layout.started
    if started is None:
        return layout
    for name, given, true in (
        ("devices", layout.local_size, started.local_size),
        ("num_nodes", layout.num_nodes, started.num_nodes),
    ):
        if given not in (1, true):
            what = "processes on each machine" if name == "devices" else "machines"
            raise ConfigError(
                f"trainer.{name}={given}, but {started.launcher} has started {true} {what}. Leave trainer.{name} out "
                "(the launcher's number holds then), or make them agree."
            )
    listed = isinstance(layout.devices, list) and layout.local_size == started.local_size
    return replace(layout, devices=layout.devices if listed else started.local_size, num_nodes=started.num_nodes)


def _check(layout: Layout) -> None:
    if layout.num_nodes > 1 and layout.started is None:
        raise ConfigError(
            f"trainer.num_nodes={layout.num_nodes}: the processes on several machines have to be started by srun or "
            f"torchrun, for example on each machine: torchrun --nnodes={layout.num_nodes} --nproc-per-node="
            f"{layout.local_size} --rdzv-backend=c10d --rdzv-endpoint=FIRST_MACHINE:29500 -m eqff.train ..."
        )
    if layout.accelerator == "cuda":
        there = torch.cuda.device_count()
        wanted = layout.devices if isinstance(layout.devices, list) else range(layout.devices)
        if there <= max(wanted):
            hint = " With srun, give --gpus-per-node and not --gpus-per-task." if layout.started and there == 1 else ""
            raise ConfigError(f"trainer.devices={layout.devices}, but this process sees {there} GPU(s).{hint}")
    elif layout.accelerator == "cpu" and layout.local_size > 4 * (os.cpu_count() or 1):
        raise ConfigError(
            f"trainer.devices={layout.devices}: that many processes on {os.cpu_count()} CPU cores would only wait for "
            "each other. Give at most one for each core."
        )
    elif layout.world_size > 1 and layout.accelerator != "cpu":
        raise ConfigError(f"Several ranks need trainer.accelerator cuda or cpu, not '{layout.accelerator}'.")
