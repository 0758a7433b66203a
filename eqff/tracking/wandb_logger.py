"""Lightning's logger for W&B, with the clocks that the plain files have too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only

_STEP = "trainer/global_step"  # as Lightning calls it in every row
_OVER_STEPS = ("train/*", "val/*", "learning_rate")


class ClockedWandbLogger(WandbLogger):
    """Adds CPU and wall time to every row, so that W&B's charts can have them on their x axis.

    By default that is the optimizer step: W&B's own is the number of the row, and W&B keeps rows that a resumed run has
    dropped and written again. Over steps they lie upon each other.

    Args:
        run: As `wandb.init` gave it.
        clocks: More columns of every row, by name.
    """

    def __init__(self, run: Any, clocks: Mapping[str, Callable[[], float]]):
        super().__init__(experiment=run, log_model=False)
        for name in _OVER_STEPS:
            run.define_metric(name, step_metric=_STEP, step_sync=False)
        self.clocks = dict(clocks)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Logs one row."""
        now = {name: round(clock(), 3) for name, clock in self.clocks.items()}
        super().log_metrics({**now, **metrics}, step)
