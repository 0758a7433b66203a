"""What the commands that use a trained model share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from eqff.checkpoints import load_model
from eqff.checkpoints.metadata import DTYPES
from eqff.devices import choose_device
from eqff.errors import ConfigError, did_you_mean
from eqff.potential import Potential


def plain_settings(cfg: DictConfig) -> dict[str, Any]:
    """A composed config as plain values, interpolations resolved.

    Raises:
        MissingMandatoryValue: Something that must be given is not.
    """
    return cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True))


def load_for_command(values: Mapping[str, Any]) -> Potential:
    """The model that a command's settings ``model``, ``dtype``, ``device`` and ``packages`` name.

    Raises:
        ConfigError: A dtype or device that there is not.
        ModelError: The model can't be loaded.
    """
    dtype = values["dtype"]
    if dtype is not None and dtype not in DTYPES:
        raise ConfigError(f"dtype: no '{dtype}'.{did_you_mean(str(dtype), DTYPES)}")
    return load_model(
        values["model"],
        dtype=getattr(torch, dtype) if dtype else None,
        device=choose_device(values["device"]),
        packages=tuple(values["packages"]),
    )


@contextmanager
def progress_bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on the terminal while the block runs; yields the function that is told how many more are done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)
