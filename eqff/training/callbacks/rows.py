"""Rows of training metrics, and how the time of the steps was spent."""

from __future__ import annotations

from typing import Any

from lightning import Callback, LightningModule, Trainer

from eqff.training.memory import peak_memory
from eqff.training.window import Window


class MetricRows(Callback):
    """Writes a row every ``trainer.log_every_n_steps`` optimizer steps.

    It comes before the callback that writes states, so that a state of step n follows the row of step n.

    Args:
        window: Of the module that is trained; its content is part of the state.
    """

    def __init__(self, window: Window):
        self.window = window
        self._written = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Steps of an earlier run have their rows."""
        self._written = trainer.global_step
        self.window.restart_clock()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """A row if it is time; batches whose gradients are only gathered are no steps."""
        waited = trainer.train_dataloader.seconds_waited
        self.window.throughput.step_ended(batch.num_graphs, len(batch.batch), waited)
        step = trainer.global_step
        if step > self._written and step % trainer.log_every_n_steps == 0:
            self._written = step
            memory = {f"train/{name}": value for name, value in peak_memory().items()}
            pl_module.write_row(pl_module.training_row() | memory)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The time of a validation isn't that of steps."""
        self.window.restart_clock()

    def state_dict(self) -> dict[str, Any]:
        """The window."""
        return self.window.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The window."""
        self.window.load_state_dict(state_dict)
