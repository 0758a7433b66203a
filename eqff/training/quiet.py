"""Silences what libraries say during a training that a user can do nothing about."""

from __future__ import annotations

import logging
import warnings

_MESSAGES = (
    ".*does not have many workers.*",
    ".*smaller than the logging interval.*",
    ".*exists and is not empty.*",
    ".*Total length of .* across ranks is zero.*",
    ".*Found .* in eval mode.*",
    ".*isinstance.treespec, LeafSpec.*",
    ".*torch.jit.script.*",
    ".*check_val_every_n_epoch.*",
    ".*You have overridden `transfer_batch_to_device`.*",
    ".*Grad strides do not match bucket view strides.*",
    ".*It is recommended to use `self.log.*sync_dist=True.*",
)


def quiet_libraries() -> None:
    """For commands: a program that calls eqff keeps its own settings."""
    import lightning  # noqa: F401  it sets the levels of its loggers when it is imported

    for name in ("lightning", "lightning.pytorch", "lightning.fabric", "lightning_utilities"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for message in _MESSAGES:
        warnings.filterwarnings("ignore", message=message)
