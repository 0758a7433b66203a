"""Which batch was worked on last, for messages about what went wrong with it."""

from __future__ import annotations

from typing import Any

from lightning import Callback, LightningModule, Trainer


class LastBatch(Callback):
    """Remembers the batch at hand.

    Attributes:
        batch: The PyG batch; None before the first.
        stage: "training" or "validation".
    """

    def __init__(self):
        self.batch: Any = None
        self.stage = "training"

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """A training batch has come."""
        self.batch, self.stage = batch, "training"

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """A validation batch has come."""
        self.batch, self.stage = batch, "validation"
