"""Lightning's logger for W&B, with the clocks that the plain files have too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only


class ClockedWandbLogger(WandbLogger):
    """Adds CPU and wall time to every row, so that W&B's charts can have them on their x axis.

    Args:
        run: As `wandb.init` gave it.
        clocks: More columns of every row, by name.
    """

    def __init__(self, run: Any, clocks: Mapping[str, Callable[[], float]]):
        super().__init__(experiment=run, log_model=False)
        self.clocks = dict(clocks)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Logs one row."""
        now = {name: round(clock(), 3) for name, clock in self.clocks.items()}
        super().log_metrics({**now, **metrics}, step)
