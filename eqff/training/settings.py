"""The config of a training as checked settings, before any file is read."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import lightning
import torch

from eqff.build import allow
from eqff.config import settings
from eqff.errors import ConfigError, did_you_mean
from eqff.tracking.wandb import TrackingSettings
from eqff.training.budget import BudgetSettings
from eqff.training.losses import Losses
from eqff.training.optimizers import check_optimizer
from eqff.training.schedules import Schedule

DTYPES = {"float32": torch.float32, "float64": torch.float64}
KEEP = ("best", "last")


@dataclass(frozen=True)
class TrainingSettings:
    """The section ``training``.

    Attributes:
        losses: `FieldLoss` settings by field.
        optimizer: Name and arguments, see `eqff.training.optimizers.build_optimizer`.
        schedule: See `Schedule`.
        ema: Decay of the moving average of the weights; None for none.
        second_stage: Share of the budget after which the second weights of the losses hold; None for never.
        validations: Spread over the budget.
        keep: Whether the "best" or the "last" weights become the model.
        monitor: The metric that says what is best.
        early_stopping: Validations without a better monitor after which training ends; None for never.
        save_every_seconds: How often the state is written.
        metrics: Labels whose errors are reported besides those with a loss.
        compile: Whether the training step is compiled.
    """

    losses: Mapping[str, Any]
    optimizer: Mapping[str, Any]
    schedule: Mapping[str, Any]
    ema: float | None = 0.99
    second_stage: float | None = None
    validations: int = 20
    keep: str = "best"
    monitor: str = "val/loss"
    early_stopping: int | None = None
    save_every_seconds: float = 300.0
    metrics: Sequence[str] = field(default_factory=tuple)
    compile: bool = False

    def __post_init__(self) -> None:
        if self.keep not in KEEP:
            raise ConfigError(f"training.keep: no '{self.keep}'.{did_you_mean(str(self.keep), KEEP)}")
        for name in ("ema", "second_stage"):
            value = getattr(self, name)
            if value is not None and not 0.0 < value < 1.0:
                raise ConfigError(f"training.{name} must be between 0 and 1, or null; it is {value}.")
        if self.validations < 1:
            raise ConfigError(f"training.validations must be at least 1, not {self.validations}.")


@dataclass(frozen=True)
class RunSettings:
    """All of a training's config but data and model, which check themselves.

    Attributes:
        training: How the model is trained.
        losses: From it.
        schedule: From it.
        budget: Limits in seconds.
        tracking: Where metrics go besides plain files.
        trainer: Arguments of Lightning's trainer.
        dtype: Of weights and features.
    """

    training: TrainingSettings
    losses: Losses
    schedule: Schedule
    budget: BudgetSettings
    tracking: TrackingSettings
    trainer: Mapping[str, Any]
    dtype: torch.dtype

    @classmethod
    def from_config(cls, cfg: Mapping[str, Any]) -> RunSettings:
        """From the resolved config.

        Raises:
            ConfigError: Something in it is unknown, missing or out of range.
        """
        for package in cfg.get("packages") or ():
            allow(package)
        training = settings(TrainingSettings, cfg["training"], "training")
        check_optimizer(training.optimizer)
        _check_trainer(cfg["trainer"])
        if cfg["dtype"] not in DTYPES:
            raise ConfigError(f"dtype: no '{cfg['dtype']}'.{did_you_mean(str(cfg['dtype']), DTYPES)}")
        return cls(
            training=training,
            losses=Losses.from_config(training.losses),
            schedule=settings(Schedule, training.schedule, "training.schedule"),
            budget=settings(BudgetSettings, cfg["budget"], "budget"),
            tracking=settings(TrackingSettings, cfg["tracking"], "tracking"),
            trainer=cfg["trainer"],
            dtype=DTYPES[cfg["dtype"]],
        )


_OWN = ("logger", "callbacks", "plugins", "default_root_dir", "inference_mode", "num_sanity_val_steps")
"""Arguments of Lightning's trainer that eqff gives itself."""


def _check_trainer(arguments: Mapping[str, Any]) -> None:
    known = [name for name in inspect.signature(lightning.Trainer).parameters if name not in _OWN]
    for name in arguments:
        if name not in known:
            raise ConfigError(f"trainer.{name} is not a setting.{did_you_mean(name, known)}")
