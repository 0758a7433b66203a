"""Exponential moving average of the weights, which is what gets validated, kept and used."""

from __future__ import annotations

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor


class WeightAveraging(Callback):
    """Keeps w̄ ← d w̄ + (1 - d) w after every step [Polyak & Juditsky, SIAM J. Control Optim. 30, 838 (1992)].

    One fused operation on lists gathered once: Lightning's callback of this name, which wraps a deep copy of the
    module, takes 0.6 ms per step for 60 tensors and this one 0.05 ms. In checkpoints ``state_dict`` holds the averaged
    weights and ``current_state_dict`` those being trained.

    Args:
        decay: d; early on it is (1 + n) / (10 + n) after n steps, so that the start is soon forgotten.
    """

    def __init__(self, decay: float):
        self.decay = decay
        self._parameters: list[Tensor] = []
        self._average: list[Tensor] = []
        self._loaded: list[Tensor] | None = None
        self._swapped = False
        self._steps = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts from the weights as they are, or goes on from a checkpoint's average."""
        self._parameters = [p for p in pl_module.parameters() if p.requires_grad]
        self._steps = trainer.global_step
        source = self._parameters if self._loaded is None else self._loaded
        self._average = [s.detach().to(p, copy=True) for s, p in zip(source, self._parameters, strict=True)]

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """One update for each optimizer step; a batch whose gradients are only gathered is none."""
        steps = trainer.global_step
        if steps == self._steps:
            return
        self._steps = steps
        decay = min(self.decay, (1 + steps) / (10 + steps))
        torch._foreach_lerp_(self._average, self._parameters, 1.0 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchanges averaged and trained weights in place, so that compiled functions see it too."""
        for parameter, average in zip(self._parameters, self._average, strict=True):
            trained = parameter.detach().clone()
            parameter.copy_(average)
            average.copy_(trained)
        self._swapped = not self._swapped

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Validates the average."""
        if self._average and trainer.state.fn == "fit":
            self.swap()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Back to the trained weights, once the module has looked at its errors; before the best ones are saved."""
        if self._swapped:
            self.swap()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Back to the trained weights, if it was the validation that broke off."""
        if self._swapped:
            self.swap()

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """The averaged weights under ``state_dict``, the trained ones under ``current_state_dict``."""
        if not self._average:
            return
        names = [name for name, parameter in pl_module.named_parameters() if parameter.requires_grad]
        checkpoint["current_state_dict"] = checkpoint["state_dict"]
        averaged = dict(zip(names, self._average, strict=True))
        checkpoint["state_dict"] = {**checkpoint["state_dict"], **averaged}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Takes the average, and gives the module the trained weights."""
        if "current_state_dict" not in checkpoint:
            return
        names = [name for name, parameter in pl_module.named_parameters() if parameter.requires_grad]
        self._loaded = [checkpoint["state_dict"][name].clone() for name in names]
        pl_module.load_state_dict(checkpoint["current_state_dict"])  # Lightning has loaded the average by now
