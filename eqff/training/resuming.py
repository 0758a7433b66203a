"""Going on with a run that was stopped: its config, with what the command line changes, and its state."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from eqff.errors import ConfigError
from eqff.tracking.run_folder import RunFolder

FIXED = ("model", "data", "dtype", "output")
"""Sections that a resumed run can't change: state and weights belong to them."""


def resumed_config(folder: RunFolder, overrides: Sequence[str]) -> DictConfig:
    """The config of a run, with overrides such as ``trainer.max_epochs=400`` applied.

    Raises:
        ConfigError: An override would change model or data, chooses a whole group, or names no setting.
    """
    cfg = OmegaConf.load(folder.config)
    OmegaConf.set_struct(cfg, True)
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        key = override.key_or_group
        if key == "resume":
            continue
        if key.split(".")[0] in FIXED or "/" in key or OmegaConf.is_dict(OmegaConf.select(cfg, key)):
            raise ConfigError(
                f"'{key}' can't be changed on resume: the stopped run's state belongs to it. Start a new run for that."
            )
        try:
            OmegaConf.update(cfg, key, override.value())
        except OmegaConfBaseException as error:
            raise ConfigError(f"There is no setting '{key}' in {folder.config}.") from error
    return cfg


def checkpoint_step(path: Path) -> int:
    """How many optimizer steps were done when a checkpoint was written."""
    return int(torch.load(path, map_location="cpu", weights_only=True)["global_step"])
