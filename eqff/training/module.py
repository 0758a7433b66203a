"""The one Lightning module that trains every model."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import lightning
import torch
from torch import Tensor

from eqff.data.graph import graph_from_batch
from eqff.errors import ConfigError, did_you_mean
from eqff.potential import Potential
from eqff.ranks.group import add_over_ranks, raise_together, sum_over_ranks, world_size
from eqff.training.diagnosis import ALL_FINITE, diverged, diverged_in_validation
from eqff.training.finetuning.freezing import Frozen
from eqff.training.losses import DERIVATIVES, STRAINED, Losses, require_predicted
from eqff.training.metrics import ErrorSums, LossSums
from eqff.training.optimizers import build_optimizer
from eqff.training.window import Window, finite

UNITS = {
    "cpu_seconds": "s",
    "wall_seconds": "s",
    "train/structures_per_second": "1/s",
    "train/atoms_per_second": "1/s",
    "train/memory_gib": "GiB",
    "train/gpu_memory_gib": "GiB",
}
"""Of columns that are no errors; shares have none."""

THROUGHPUT = ("structures_per_second", "atoms_per_second")
"""Columns of which every rank has a part."""


class ForceFieldModule(lightning.LightningModule):
    """Losses, metrics and optimizer around a potential.

    Metrics are named ``split/field_metric``. Rows are written every ``trainer.log_every_n_steps`` steps and handed to
    the loggers directly: Lightning's ``self.log`` costs a third of a millisecond per value and step.

    Args:
        potential: The model.
        losses: What is minimised.
        optimizer: Settings for `build_optimizer`.
        metrics: Labels whose errors are reported besides those with a loss.
        frozen: What of the potential is not trained.

    Raises:
        ConfigError: A loss or metric asks for a field that the model doesn't predict.
    """

    def __init__(
        self,
        potential: Potential,
        losses: Losses,
        optimizer: Mapping[str, Any],
        metrics: tuple[str, ...] = (),
        frozen: Frozen | None = None,
    ):
        super().__init__()
        self.potential = potential
        self.losses = losses
        self.optimizer_config = dict(optimizer)
        self.frozen = frozen or Frozen()
        losses.check_model(potential.predicts, potential.per_pass)
        for name in metrics:
            require_predicted(name, potential.predicts, "training.metrics", "Or leave it out of training.metrics.")
        self.validation_errors = ErrorSums([*losses.labels, *(name for name in metrics if name not in losses.labels)])
        self._compared = (*losses.fields, *metrics)
        self.training_errors = ErrorSums(losses.labels)
        self.second_stage = False
        self.window = Window()
        self._batch: Any = None
        self._validation_loss = LossSums(losses)

    def forward(self, batch: Any) -> dict[str, Tensor]:
        """The potential's prediction for a PyG batch, with all derivatives that losses (in validation, errors) need."""
        graph = graph_from_batch(batch, self.potential.dtype)
        asked = self.losses.fields if self.training else self._compared
        forces, stress = (any(name in some for name in asked) for some in (DERIVATIVES, STRAINED))
        return self.potential(graph, forces=forces, stress=stress)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Its groups hold each trainable parameter of the potential once."""
        optimizer = build_optimizer(self.optimizer_config, self.potential)
        self.frozen.watch(optimizer)
        return optimizer

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Moves a batch; one that is there already is not walked through tensor by tensor."""
        if batch.positions.device == device:
            return batch
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The loss of one batch.

        Raises:
            TrainingError: It is NaN or infinite; the message names the frames and the first tensor that is.
        """
        self._batch = batch
        prediction = self(batch)
        atoms = atoms_per_structure(batch)
        share, loss, parts = self._loss(prediction, batch, atoms)
        self.window.add({"loss": loss.detach()} | {f"{n}_loss": p.detach() for n, p in parts.items()})
        if self._looks_at(loss) and not finite(loss):
            raise_together(None if finite(share) else diverged(self, batch, "loss", share), "The loss became NaN.")
        if self._writes_row():
            self.training_errors.update(prediction, batch, atoms)
        # gradients are averaged over ranks; that of the loss is the sum of the shares'
        return share * (world_size() * self._weight_in_step(batch_idx))

    def _weight_in_step(self, batch_idx: int) -> float:
        """Makes the gradient of a step the mean of its batches': Lightning divides by the number that most steps have,
        also where fewer are left at the end of an epoch."""
        count = self.trainer.accumulate_grad_batches
        left = self.trainer.num_training_batches - batch_idx // count * count
        return count / min(count, left)

    def _loss(self, prediction: Mapping[str, Tensor], batch: Any, atoms: Tensor) -> tuple[Tensor, Tensor, Any]:
        """This rank's part of the loss with its gradient; the loss of the whole batch, and of its fields."""
        if world_size() > 1:
            return self.losses.share(prediction, batch, atoms, self.second_stage, sum_over_ranks)
        loss, parts = self.losses(prediction, batch, atoms, self.second_stage)
        return loss, loss, parts

    def training_row(self) -> dict[str, float]:
        """The metrics of the steps since the last row; starts anew."""
        row = self.window.read(self.trainer.gradient_clip_val) | self.training_errors.compute(sum_over_ranks)
        add_over_ranks(row, THROUGHPUT)
        return {f"train/{name}": value for name, value in row.items()} | self._progress()

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clips by the norm of all gradients, which goes into the metrics together with the share of steps clipped.

        Raises:
            TrainingError: It is NaN or infinite: the step is not taken.
        """
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        limit = gradient_clip_val or float("inf")
        norm = torch.nn.utils.clip_grad_norm_(parameters, limit, foreach=True)
        self.window.add_gradient_norm(norm)
        if self._looks_at(norm) and not finite(norm):
            message = diverged(self, self._batch, "gradient", norm)
            # gradients are those of all ranks: the rank that finds something to name is the one to tell
            raise_together(None if ALL_FINITE in message else message, message)

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Derivatives by what the optimizer moves, and by nothing else: positions, too, are leaves of the loss."""
        if world_size() > 1:  # not tried where gradients are averaged over ranks on their way
            super().backward(loss, *args, **kwargs)
            return
        groups = self.trainer.optimizers[0].param_groups
        loss.backward(*args, inputs=[p for group in groups for p in group["params"]], **kwargs)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Adds a batch to the sums of errors; its loss has the weights of the last stage, comparable all along."""
        prediction = self(batch)
        atoms = atoms_per_structure(batch)
        self._validation_loss.update(prediction, batch, atoms)
        self.validation_errors.update(prediction, batch, atoms)

    def on_validation_epoch_end(self) -> None:
        """Writes a row of validation metrics, and hands them to callbacks that watch one.

        Raises:
            TrainingError: The loss is NaN or infinite.
        """
        each, loss = self._validation_loss.each(), self._validation_loss.compute(sum_over_ranks)
        metrics = self.validation_errors.compute(sum_over_ranks)
        if not finite(loss):
            bad = not bool(each.isfinite().all())
            raise_together(diverged_in_validation(self, each) if bad else None, "The validation loss became NaN.")
        metrics["loss"] = loss.item()
        row = {f"val/{name}": value for name, value in metrics.items()}
        self.log_dict(row, logger=False, batch_size=1)
        self.write_row(row | self._progress())
        self.window.restart_clock()

    def check_monitor(self, name: str, labels: Collection[str] | None = None) -> None:
        """Raises ConfigError if validations give no metric of this name.

        Args:
            name: As in rows of metrics.
            labels: That are known in the validation set; None for all.
        """
        has_loss = labels is None or any(label in labels for label in self.losses.labels)  # it would always be 0
        known = [*["val/loss"] * has_loss, *(f"val/{metric}" for metric in self.validation_errors.names(labels))]
        if name not in known:
            raise ConfigError(
                f"training.monitor: validations give no '{name}'.{did_you_mean(name, known)} Others come with "
                "training.metrics, where the validation set has labels for them."
            )

    def write_row(self, row: Mapping[str, float]) -> None:
        """Hands a row of metrics to every logger, under the number of optimizer steps done."""
        for logger in self.loggers:
            logger.log_metrics(dict(row), step=self.trainer.global_step)

    @property
    def units(self) -> dict[str, str]:
        """Unit of every metric that has one."""
        errors = self.validation_errors.units
        names = {f"{split}/{name}": unit for split in ("train", "val", "test") for name, unit in errors.items()}
        return names | UNITS

    def _looks_at(self, value: Tensor) -> bool:
        """Whether a number is read in this step; on a GPU only once per row, because it stops the queue of kernels."""
        return value.device.type == "cpu" or self._writes_row()

    def _writes_row(self) -> bool:
        return (self.trainer.global_step + 1) % self.trainer.log_every_n_steps == 0

    def _progress(self) -> dict[str, float]:
        optimizer = self.trainer.optimizers[0]
        return {"epoch": self.current_epoch, "learning_rate": optimizer.param_groups[0]["lr"]}


def atoms_per_structure(batch: Any) -> Tensor:
    """Number of atoms of each structure of a PyG batch, (B,)."""
    return batch.ptr[1:] - batch.ptr[:-1]
