"""The state to resume from: written now and then, at the end, and when the run is told to stop."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from eqff.training.callbacks.pacing import Pacing

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Persistence(Callback):
    """Writes ``last.ckpt`` and ends the training in good order on Ctrl-C or SIGTERM.

    Stopping within an epoch writes the state right after that step, so that a resumed training takes the next batch;
    what comes afterwards (validation, ends of hooks) doesn't overwrite it. A second Ctrl-C stops at once.

    Args:
        path: Of the checkpoint.
        pacing: Is told to stop.
        every_seconds: How often the state is written at ends of epochs.
    """

    def __init__(self, path: Path, pacing: Pacing, every_seconds: float = 300.0):
        self.path = path
        self.pacing = pacing
        self.every_seconds = every_seconds
        self.interrupted = False
        self._saved_step = -1
        self._saved_at = time.monotonic()
        self._previous: dict[int, Any] = {}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listens for the signals that ask to stop; only a main thread can."""
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._ask_to_stop) for number in SIGNALS}

    def _ask_to_stop(self, number: int, frame: FrameType | None) -> None:
        self.interrupted = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Writes the state if this step is to be the last."""
        if self.interrupted:
            self.pacing.stop(trainer)
        if trainer.should_stop:
            self._save(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the state if it is the last epoch or some time has passed."""
        last = trainer.max_epochs is not None and trainer.current_epoch + 1 == trainer.max_epochs
        if last or time.monotonic() - self._saved_at > self.every_seconds:
            self._save(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the state if nothing has since the last step."""
        self._save(trainer)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Gives the signals back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Adds the state of the random generators."""
        checkpoint["random_state"] = torch.get_rng_state()
        if torch.cuda.is_available():
            checkpoint["random_state_cuda"] = torch.cuda.get_rng_state_all()

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Random numbers go on where they were."""
        if "random_state" in checkpoint:
            torch.set_rng_state(checkpoint["random_state"].cpu())
        if "random_state_cuda" in checkpoint and torch.cuda.device_count() == len(checkpoint["random_state_cuda"]):
            torch.cuda.set_rng_state_all([state.cpu() for state in checkpoint["random_state_cuda"]])

    def _save(self, trainer: Trainer) -> None:
        if trainer.global_step == self._saved_step:
            return
        self._saved_step, self._saved_at = trainer.global_step, time.monotonic()
        trainer.save_checkpoint(self.path)
