"""The section ``trainer``: arguments of Lightning's trainer, checked before there is anything to train."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Literal

import lightning
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.plugins.environments import LightningEnvironment

from eqff.errors import ConfigError
from eqff.ranges import Count, Positive
from eqff.validation import check_arguments, check_value

_OWN = (
    "logger",
    "callbacks",
    "plugins",
    "default_root_dir",
    "inference_mode",
    "num_sanity_val_steps",
    "enable_model_summary",
    "enable_checkpointing",
    "fast_dev_run",
    "gradient_clip_algorithm",
    "check_val_every_n_epoch",
    "limit_test_batches",
    "limit_predict_batches",
    "reload_dataloaders_every_n_epochs",
    "sync_batchnorm",
    "use_distributed_sampler",
    "overfit_batches",
    "barebones",
    "model_registry",
)
"""Arguments that eqff gives itself, or that would have no effect."""

_ENDS = ("max_time", "min_epochs", "min_steps")
"""Arguments that end a training, or keep it from its end, where neither learning rate nor validations know of it."""

_RANGES: dict[str, Any] = {
    "max_epochs": Count | None,
    "max_steps": Literal[-1] | Count,
    "num_nodes": Count,
    "log_every_n_steps": Count,
    "accumulate_grad_batches": Count,
    "gradient_clip_val": Positive | None,
}
"""Ranges that Lightning checks late or not at all."""


_PRECISIONS = ("32-true", 32, "32", None)


def _check_precision(value: Any) -> None:
    """Raises ConfigError for any other than that of the weights.

    Lightning's mixed precision rounds what comes out of every product too, energies of atoms among them: with
    bf16-mixed gradients of a trained model were off by 3 % and forces by 2 meV/Å (docs/performance.md), and training
    would validate another model than the one that is saved. With scaled losses (16-mixed) infinite gradients are no
    fault.
    """
    if value not in _PRECISIONS:
        raise ConfigError(
            f"trainer.precision is '{value}': only '32-true' is allowed. Half precision, 'bf16-mixed' too, rounds "
            "energies and forces themselves. For speed on a GPU there is tf32=true, for double precision dtype=float64."
        )


def check_trainer(arguments: Mapping[str, Any]) -> None:
    """Checks the arguments of Lightning's trainer, also against each other and this machine.

    Raises:
        ConfigError: An unknown argument, a wrong type or value, or an accelerator that isn't here.
    """
    for name in _ENDS:
        if arguments.get(name) is not None:
            raise ConfigError(
                f"trainer.{name}: a training ends by trainer.max_epochs, trainer.max_steps and budget.wall_seconds or "
                "budget.cpu_seconds, which learning rate and validations follow. Give one of these instead."
            )
    known = [name for name in inspect.signature(lightning.Trainer).parameters if name not in _OWN]
    check_arguments(lightning.Trainer, arguments, "trainer", known=known)
    _check_precision(arguments.get("precision"))
    for name in _RANGES.keys() & arguments.keys():
        check_value(arguments[name], _RANGES[name], f"trainer.{name}")
    for needed in ("max_epochs", "max_steps", "enable_progress_bar"):
        if needed not in arguments:
            raise ConfigError(f"trainer.{needed} is missing: give {needed}: null for no limit.")
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    try:
        # who has started this process is looked at in eqff.ranks, not here
        place = [LightningEnvironment()]
        lightning.Trainer(**{**arguments, **quiet}, logger=False, inference_mode=False, plugins=place)
    except (MisconfigurationException, ValueError, TypeError, RuntimeError, ImportError) as error:
        raise ConfigError(f"trainer: {' '.join(str(error).split())}") from error
