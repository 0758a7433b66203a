"""Everything that follows the budget: learning rate, second stage, when to validate, when to stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from lightning import Callback, LightningModule, Trainer
from torch.optim import Optimizer

from eqff.training.budget import Budget, Limit
from eqff.training.schedules import Schedule

_NEVER = 2**31


class Pacing(Callback):
    """Drives a training by the share of its budget that is used, counted from the end of the first step.

    Args:
        budget: Its limits in seconds; those in epochs and steps are added from the trainer.
        schedule: Learning rate over the budget; each group keeps its own base rate.
        second_stage: Share of the training after which the losses' second weights hold; None for never.
        validations: How many validations are spread over the budget, the one at its end included. They fall on ends of
            epochs, so there are fewer when there are fewer epochs; within long epochs ``trainer.val_check_interval``
            rules.
        clock: Seconds by which steps are timed; the same on all ranks, so that they stop together.

    Attributes:
        used: Total and used of each limit when training ended; the validation that follows isn't counted.
    """

    def __init__(
        self,
        budget: Budget,
        schedule: Schedule,
        second_stage: float | None = None,
        validations: int = 20,
        clock: Callable[[], float] = time.perf_counter,
    ):
        self.budget = budget
        self.clock = clock
        self.schedule = schedule
        self.second_stage = second_stage
        self.validations = validations
        self.used: dict[str, dict[str, float]] = {}
        self._base_rates: list[float] = []
        self._validated = 0.0
        self._batches = 0
        self._batch_seconds = 0.0
        self._batch_started = 0.0
        self._epoch_began: float | None = None
        self._validates = True
        self._saved_at = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Adds the limits in epochs and steps."""
        self._add_limits(trainer)
        if self._saved_at:
            scale = min(self.budget.progress / self._saved_at, 1.0)  # on resume the budget may have grown
            self._validated, self._epoch_began = scale * self._validated, scale * (self._epoch_began or 0.0)
        trainer.check_val_every_n_epoch = 1 if self._validates else _NEVER  # a resumed epoch has been decided on
        self._adopt_settings(trainer.optimizers[0], pl_module.configure_optimizers())

    def _add_limits(self, trainer: Trainer) -> None:
        timed = [limit for limit in self.budget.limits if limit.timed]
        steps = []
        if trainer.max_epochs is not None and trainer.max_epochs > 0:
            per_epoch = -(-trainer.num_training_batches // trainer.accumulate_grad_batches)
            total = trainer.max_epochs * per_epoch
            steps.append(Limit("epochs", trainer.max_epochs, lambda: trainer.max_epochs * trainer.global_step / total))
        if trainer.max_steps > 0:
            steps.append(Limit("steps", trainer.max_steps, lambda: trainer.global_step))
        self.budget.limits = timed + steps

    def _adopt_settings(self, optimizer: Optimizer, configured: Optimizer) -> None:
        """The config rules over what a checkpoint has brought, so that a resumed run may change rates and decays."""
        for group, wanted in zip(optimizer.param_groups, configured.param_groups, strict=True):
            group |= {name: value for name, value in wanted.items() if name != "params"}
        self._base_rates = [group["lr"] for group in configured.param_groups]

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Decides whether this epoch ends with a validation."""
        progress = self.budget.progress
        first = self._epoch_began is None  # how long an epoch takes is not known yet, and an early number is welcome
        epoch = 0.0 if first else progress - self._epoch_began
        due = progress + epoch - self._validated >= (1.0 - 1e-6) / self.validations
        last = trainer.max_epochs is not None and trainer.current_epoch + 1 == trainer.max_epochs
        self._validates = first or due or last
        trainer.check_val_every_n_epoch = 1 if self._validates else _NEVER
        self._epoch_began = progress

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Sets the learning rates and the stage of this step."""
        progress = self.budget.progress
        factor = self.schedule.factor(progress)
        for group, rate in zip(trainer.optimizers[0].param_groups, self._base_rates, strict=True):
            group["lr"] = rate * factor
        pl_module.second_stage = self.second_stage is not None and progress >= self.second_stage
        self._batch_started = self.clock()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stops when no further step fits into the budget, and sees to it that the last weights are validated."""
        self._time(self.clock() - self._batch_started)
        self.budget.start()
        step_seconds = trainer.accumulate_grad_batches * self._batch_seconds
        # gathered gradients are no part of a state, so time is only looked at where a step has ended
        spent = _ends_step(trainer, batch_idx + 1) and self.budget.spent(step_seconds)
        # steps may end within an epoch, where Lightning would not validate
        if spent or 0 < trainer.max_steps <= trainer.global_step:
            self.stop(trainer)
        elif _ends_unseen(trainer, batch_idx + 1):
            if trainer.val_check_batch is None:  # validations by time
                self.stop(trainer)
            else:
                trainer.val_check_batch = batch_idx + 1

    def _time(self, seconds: float) -> None:
        """Takes a batch into the mean, which begins with the second one, as the first compiles, and follows slowly."""
        self._batches += 1
        if self._batches > 1:
            share = max(0.1, 1.0 / (self._batches - 1))
            self._batch_seconds += share * (seconds - self._batch_seconds)

    def stop(self, trainer: Trainer) -> None:
        """Ends the training after this step, with a validation."""
        trainer.should_stop = True
        trainer.check_val_every_n_epoch = 1
        self.used = self.budget.describe()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Notes what was used, if it was not the budget in seconds that ended it."""
        self.used = self.used or self.budget.describe()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Notes what was used where nothing was left to do, so that training didn't even start."""
        if not self.used:
            self._add_limits(trainer)
            self.used = self.budget.describe()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Notes where in the budget it was."""
        self._validated = self.budget.progress

    def state_dict(self) -> dict[str, Any]:
        """What a resumed training must know."""
        epoch = {"epoch_began": self._epoch_began, "validates": self._validates}
        progress = {"validated": self._validated, "saved_at": self.budget.progress}
        return {"budget": self.budget.state_dict()} | progress | epoch

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Counts on from where the checkpoint was written."""
        self.budget.load_state_dict(state_dict["budget"])
        self._validated, self._saved_at = state_dict["validated"], state_dict["saved_at"]
        self._epoch_began, self._validates = state_dict["epoch_began"], state_dict["validates"]


def _ends_step(trainer: Trainer, batches: int) -> bool:
    """Whether the optimizer has taken a step after so many batches of an epoch."""
    return batches % trainer.accumulate_grad_batches == 0 or batches >= trainer.num_training_batches


def _ends_unseen(trainer: Trainer, batches: int) -> bool:
    """Whether training ends with this batch, but ``val_check_interval`` has no validation there."""
    last_epoch = trainer.max_epochs is not None and trainer.current_epoch + 1 == trainer.max_epochs
    if not last_epoch or batches < trainer.num_training_batches:
        return False
    return trainer.val_check_batch is None or batches % trainer.val_check_batch != 0
