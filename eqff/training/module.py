"""The one Lightning module that trains every model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightning
import torch
from torch import Tensor

from eqff.data.graph import graph_from_batch
from eqff.errors import TrainingError
from eqff.potential import Potential
from eqff.training.losses import Losses
from eqff.training.metrics import ErrorSums
from eqff.training.optimizers import build_optimizer
from eqff.training.window import Window, finite


class ForceFieldModule(lightning.LightningModule):
    """Losses, metrics and optimizer around a potential.

    Metrics are named ``split/field_metric``. Rows are written every ``trainer.log_every_n_steps`` steps and handed to
    the loggers directly: Lightning's ``self.log`` costs a third of a millisecond per value and step.

    Args:
        potential: The model.
        losses: What is minimised.
        optimizer: Settings for `build_optimizer`.
        metrics: Labels whose errors are reported besides those with a loss.

    Raises:
        ConfigError: A loss or metric asks for a field that the model doesn't predict.
    """

    def __init__(
        self, potential: Potential, losses: Losses, optimizer: Mapping[str, Any], metrics: tuple[str, ...] = ()
    ):
        super().__init__()
        self.potential = potential
        self.losses = losses
        self.optimizer_config = dict(optimizer)
        losses.check_model(potential.predicts)
        self.validation_errors = ErrorSums([*losses.fields, *(name for name in metrics if name not in losses.fields)])
        self.training_errors = ErrorSums(losses.fields)
        self.second_stage = False
        self.window = Window()
        self._validation_loss: list[tuple[Tensor, int]] = []

    def forward(self, batch: Any) -> dict[str, Tensor]:
        """The potential's prediction for a PyG batch."""
        graph = graph_from_batch(batch, self.potential.dtype)
        return self.potential(graph, forces=self.losses.derivatives, stress=self.losses.stress)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Its groups hold each trainable parameter of the potential once."""
        return build_optimizer(self.optimizer_config, self.potential)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Moves a batch; one that is there already is not walked through tensor by tensor."""
        if batch.positions.device == device:
            return batch
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The loss of one batch.

        Raises:
            TrainingError: It is NaN or infinite; the message names the frames.
        """
        prediction = self(batch)
        atoms = atoms_per_structure(batch)
        loss, parts = self.losses(prediction, batch, atoms, self.second_stage)
        writes_row = self._writes_row()
        # on a GPU, looking at the loss would stop the queue of kernels, so there it is done once per row
        if (writes_row or loss.device.type == "cpu") and not finite(loss):
            raise TrainingError(self._diverged(batch, loss, parts))
        self.window.add({"loss": loss.detach()} | {f"{n}_loss": p.detach() for n, p in parts.items()}, atoms.shape[0])
        if writes_row:
            self.training_errors.update(prediction, batch, atoms)
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Writes a row of training metrics when it is time."""
        if self.trainer.global_step % self.trainer.log_every_n_steps == 0:
            row = self.window.read(self.trainer.gradient_clip_val) | self.training_errors.compute()
            self.write_row({f"train/{name}": value for name, value in row.items()} | self._progress())

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clips by the norm of all gradients, which goes into the metrics together with the share of steps clipped."""
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        limit = gradient_clip_val or float("inf")
        self.window.add_gradient_norm(torch.nn.utils.clip_grad_norm_(parameters, limit, foreach=True))

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Adds a batch to the sums of errors; its loss has the weights of the last stage, comparable all along."""
        prediction = self(batch)
        atoms = atoms_per_structure(batch)
        loss, _ = self.losses(prediction, batch, atoms, second_stage=True)
        self._validation_loss.append((loss.detach(), atoms.shape[0]))
        self.validation_errors.update(prediction, batch, atoms)

    def on_validation_epoch_end(self) -> None:
        """Writes a row of validation metrics, and hands them to callbacks that watch one."""
        metrics = self.validation_errors.compute(self._sum_over_processes)
        total = torch.stack([loss.double() * count for loss, count in self._validation_loss]).sum()
        count = torch.tensor(float(sum(count for _, count in self._validation_loss)), device=total.device)
        metrics["loss"] = (self._sum_over_processes(total) / self._sum_over_processes(count)).item()
        self._validation_loss = []
        row = {f"val/{name}": value for name, value in metrics.items()}
        self.log_dict(row, logger=False, batch_size=1)
        self.write_row(row | self._progress())
        self.window.restart_clock()

    def write_row(self, row: Mapping[str, float]) -> None:
        """Hands a row of metrics to every logger, under the number of optimizer steps done."""
        for logger in self.loggers:
            logger.log_metrics(dict(row), step=self.trainer.global_step)

    @property
    def units(self) -> dict[str, str]:
        """Unit of every metric that has one."""
        errors = self.validation_errors.units
        names = {f"{split}/{name}": unit for split in ("train", "val", "test") for name, unit in errors.items()}
        return names | {"train/structures_per_second": "1/s", "cpu_seconds": "s", "wall_seconds": "s"}

    def _writes_row(self) -> bool:
        return (self.trainer.global_step + 1) % self.trainer.log_every_n_steps == 0

    def _progress(self) -> dict[str, float]:
        optimizer = self.trainer.optimizers[0]
        return {"epoch": self.current_epoch, "learning_rate": optimizer.param_groups[0]["lr"]}

    def _sum_over_processes(self, value: Tensor) -> Tensor:
        return self.trainer.strategy.reduce(value, reduce_op="sum")

    def _diverged(self, batch: Any, loss: Tensor, parts: Mapping[str, Tensor]) -> str:
        each = ", ".join(f"{name} {part.item():.4g}" for name, part in parts.items())
        rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        place = f"step {self.trainer.global_step + 1} (epoch {self.current_epoch + 1}; {each})"
        return (
            f"The loss became {loss.item()} at {place}. Structures of this batch: {'; '.join(describe_frames(batch))}. "
            "If their labels and geometries are right, training has diverged: lower "
            f"training.optimizer.lr (now {rate:.3g}) or trainer.gradient_clip_val "
            f"(now {self.trainer.gradient_clip_val})."
        )


def atoms_per_structure(batch: Any) -> Tensor:
    """Number of atoms of each structure of a PyG batch, (B,)."""
    return batch.ptr[1:] - batch.ptr[:-1]


def describe_frames(batch: Any) -> list[str]:
    """Where each structure of a batch comes from: file, frame in it, and group if it has one."""
    frames = batch.frame.tolist()
    return [
        f"{source or 'structure'} frame {frame}" + (f" ({group})" if group else "")
        for source, frame, group in zip(batch.source, frames, batch.group, strict=True)
    ]
