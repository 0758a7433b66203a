"""The state to resume from: written now and then, at the end, and when the run is told to stop."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from eqff.errors import TrainingError
from eqff.ranks.group import sum_over_ranks, world_size
from eqff.tracking.run_folder import RunFolder
from eqff.training.random_state import random_state, set_random_state

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Handlers of signals are afterwards what they were: Lightning tears down no callbacks after an exception."""
    in_main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in SIGNALS} if in_main else {}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # of a program that is not Python, which nothing could give back
                signal.signal(number, handler)


class Interrupted(BaseException):
    """The training was told to stop. Like KeyboardInterrupt no Exception, so that nothing takes it for a fault.

    Attributes:
        signal: The signal that said so.
        at_once: Whether it was said a second time, so that the state is not that of the last step.
    """

    def __init__(self, number: int, at_once: bool = False):
        self.signal, self.at_once = signal.Signals(number), at_once
        super().__init__(f"stopped by {self.signal.name}")


class Persistence(Callback):
    """Writes ``last.ckpt``, keeps the one before, and ends the training in good order on Ctrl-C or SIGTERM.

    The state is written where nothing is pending: after an optimizer step that neither a validation nor the end of an
    epoch follows, or at the end of an epoch. A training that goes on from there does what it would have done, and every
    row of metrics was written either before the state or will be after it. One exception: when a budget in seconds
    ends within an epoch, the state is that of the last step, and the validation that follows isn't part of it.

    A first signal stops at the next such point; a second one at once, with the state that was written last.

    Args:
        folder: Of the run.
        every_seconds: How often the state is written; besides after every validation, and when training ends.

    Attributes:
        saved_step: Number of optimizer steps in the state that was written last; None before the first.
        interrupted: Whether this process was told to stop.
        signal: By which signal, SIGINT if it didn't hear that itself.
    """

    def __init__(self, folder: RunFolder, every_seconds: float = 300.0):
        self.folder = folder
        self.every_seconds = every_seconds
        self.saved_step: int | None = None
        self.interrupted = False
        self.signal = signal.SIGINT
        self._due = False
        self._random_state: dict[str, Any] | None = None
        self._saved_at = time.monotonic()
        self._previous_handlers: dict[int, Any] = {}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listens for the signals that ask to stop; only a main thread can."""
        if threading.current_thread() is threading.main_thread():
            self._previous_handlers = {number: signal.signal(number, self.ask_to_stop) for number in SIGNALS}

    def _listen_alone(self) -> None:
        """Replaces the handler that Lightning has added for SIGTERM since: in it ranks wait for each other, wherever
        the signal has met them, so that they may wait for ever."""
        for number in self._previous_handlers:
            signal.signal(number, self.ask_to_stop)

    def ask_to_stop(self, number: int, frame: FrameType | None = None) -> None:
        """What a signal does."""
        if self.interrupted:
            raise Interrupted(number, at_once=True)
        self.interrupted, self.signal = True, signal.Signals(number)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Writes the state if it is time and nothing is pending, or if this step is the last one."""
        save, stop = self._wanted()
        if trainer.should_stop or trainer.global_step == trainer.max_steps:
            self.save(trainer)
        elif save and nothing_pending(trainer, batch_idx):
            self.save(trainer)
            self._stop(stop)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """What was the best so far belongs to the state, so it is written soon."""
        self._due = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the state if it is the last epoch or it is time."""
        last = trainer.max_epochs is not None and trainer.current_epoch + 1 == trainer.max_epochs
        save, stop = self._wanted()
        if save or last or trainer.should_stop:
            self.save(trainer)
            self._stop(stop)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the state if nothing has since the last step."""
        self.save(trainer)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Gives the signals back."""
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)
        self._previous_handlers = {}

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Adds the state of the random generators."""
        checkpoint["random_state"] = random_state()

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Notes what is on the disk already."""
        self.saved_step = checkpoint["global_step"]
        self._random_state = checkpoint.get("random_state")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Random numbers go on where they were."""
        self._listen_alone()
        if self._random_state is not None:
            set_random_state(self._random_state)

    def save(self, trainer: Trainer) -> None:
        """Writes the state, unless that was done at this very step.

        Raises:
            TrainingError: It holds weights that are not finite; the state written before stays.
            StorageError: The disk is full; the state written before stays.
        """
        if trainer.global_step == self.saved_step or trainer.global_step == 0:
            return
        require_finite(trainer.lightning_module)
        for logger in trainer.loggers:
            logger.save()  # rows of metrics reach the disk no later than the state that says they are there
        trainer.save_checkpoint(
            self.folder.last_checkpoint, storage_options={"previous": self.folder.previous_checkpoint}
        )
        self.saved_step, self._saved_at, self._due = trainer.global_step, time.monotonic(), False
        trainer.lightning_module.window.restart_clock()  # the time of writing isn't that of steps

    def _wanted(self) -> tuple[bool, bool]:
        """Whether a state is wanted, and a stop; all ranks agree, though their clocks and signals don't."""
        save = self._due or self.interrupted or time.monotonic() - self._saved_at > self.every_seconds
        if world_size() == 1:
            return save, self.interrupted
        votes = sum_over_ranks(torch.tensor([float(save), float(self.interrupted)])).tolist()
        return votes[0] > 0, votes[1] > 0

    def _stop(self, stop: bool) -> None:
        if stop:
            raise Interrupted(self.signal)


def nothing_pending(trainer: Trainer, batch_idx: int) -> bool:
    """Whether this batch ended an optimizer step, and neither a validation nor the end of an epoch comes next."""
    done = batch_idx + 1
    last = done >= trainer.num_training_batches
    validates = trainer.val_check_batch is not None and done % trainer.val_check_batch == 0
    return not last and not validates and done % trainer.accumulate_grad_batches == 0


def require_finite(module: torch.nn.Module) -> None:
    """Raises TrainingError if a weight is NaN or infinite: such a state must never replace a good one."""
    with torch.no_grad():
        for name, value in module.named_parameters():
            if not bool(value.isfinite().all()):
                raise TrainingError(
                    f"The weight '{name}' has become NaN or infinite, so the state was not written; the one written "
                    "before is kept. Training has diverged: lower training.optimizer.lr or trainer.gradient_clip_val."
                )
