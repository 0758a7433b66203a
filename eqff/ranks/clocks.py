"""Clocks that all ranks see alike, so that what is decided by them is the same everywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from eqff.ranks.group import is_first, sum_over_ranks, world_size


class SharedClocks:
    """CPU seconds of all ranks together and wall seconds of the first, as they were when last agreed on.

    Args:
        clocks: ``cpu_seconds`` and ``wall_seconds`` of this process.

    Attributes:
        functions: The same names; the numbers are equal on all ranks. Alone: the clocks themselves.
    """

    def __init__(self, clocks: Mapping[str, Callable[[], float]]):
        self._clocks = dict(clocks)
        self._now: dict[str, float] = {}
        self.functions: dict[str, Callable[[], float]] = self._clocks
        if world_size() > 1:
            self.agree()
            self.functions = {name: lambda n=name: self._now[n] for name in clocks}

    def agree(self) -> None:
        """Reads the clocks anew: one sum of two numbers over ranks. All ranks must take part."""
        if world_size() == 1:
            return
        own = [clock() if name == "cpu_seconds" or is_first() else 0.0 for name, clock in self._clocks.items()]
        now = sum_over_ranks(torch.tensor(own, dtype=torch.float64)).tolist()
        self._now = dict(zip(self._clocks, now, strict=True))


class Agreement(Callback):
    """Has the clocks read together, so that what is decided by them is decided alike on all ranks.

    Comes before all callbacks that look at the clocks.

    Args:
        clocks: To read.
        every_step: Whether a budget in seconds asks for it; else it is done for rows of metrics.
    """

    def __init__(self, clocks: SharedClocks, every_step: bool):
        self.clocks = clocks
        self.every_step = every_step

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Before the first step."""
        self.clocks.agree()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """After a step."""
        if self.every_step or trainer.global_step % trainer.log_every_n_steps == 0:
            self.clocks.agree()

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """For the row of the validation: clocks that lag behind the time of day look like those of a later process."""
        self.clocks.agree()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Validation takes time too."""
        self.clocks.agree()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """For what is reported as used."""
        self.clocks.agree()
