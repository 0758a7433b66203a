"""Optimizers from config: any of torch.optim by its name, or one of eqff's own by its path."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from eqff.construct import locate
from eqff.errors import ConfigError, did_you_mean
from eqff.training.optimizers.groups import parameter_groups
from eqff.validation import check_arguments, check_value, parameters_of

PLACE = "training.optimizer"
_OWN = ("name", "groups", "no_decay")


def optimizer_class(name: str) -> type[torch.optim.Optimizer]:
    """The class of this name in torch.optim, or at this path in eqff or a package that the user allowed.

    Raises:
        ConfigError: There is none; the message suggests the nearest name.
    """
    if "." in name:
        return locate(name, torch.optim.Optimizer)
    known = {key: value for key, value in vars(torch.optim).items() if _is_optimizer(value)}
    if name not in known:
        raise ConfigError(f"{PLACE}.name: torch.optim has no '{name}'.{did_you_mean(name, known)}")
    return known[name]


def check_optimizer(config: Mapping[str, Any]) -> tuple[type[torch.optim.Optimizer], dict[str, Any]]:
    """The class and its arguments, before there is anything to optimize; see `build_optimizer`."""
    if not isinstance(config.get("name"), str):
        raise ConfigError(f"{PLACE}.name is missing: a class of torch.optim (AdamW...) or the path of one in eqff.")
    kind = optimizer_class(config["name"])
    accepted = [name for name in inspect.signature(kind).parameters if name != "params"]
    arguments = {key: value for key, value in config.items() if value is not None and key not in _OWN}
    check_arguments(kind, arguments, PLACE, known=accepted)
    check_value(config.get("no_decay"), Sequence[str] | None, f"{PLACE}.no_decay")
    check_value(config.get("groups"), Mapping[str, Mapping[str, Any] | None] | None, f"{PLACE}.groups")
    return kind, arguments


def build_optimizer(config: Mapping[str, Any], model: nn.Module) -> torch.optim.Optimizer:
    """An optimizer with every trainable parameter of a model in exactly one group.

    Args:
        config: ``name``, ``no_decay``, ``groups`` (see `parameter_groups`) and the arguments of the class; those set to
            null keep the class's defaults.
        model: Its parameters.

    Raises:
        ConfigError: An unknown class, argument or group.
    """
    kind, arguments = check_optimizer(config)
    options = getattr(kind, "group_options", None)
    decays = "weight_decay" in inspect.signature(kind).parameters
    groups = parameter_groups(model, config.get("groups"), config.get("no_decay") or [], options, decays=decays)
    try:
        optimizer = kind(groups, **arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"{PLACE} ({kind.__name__}): {error}") from error
    _check_options(config.get("groups") or {}, optimizer)
    return optimizer


def _check_options(groups: Mapping[str, Mapping[str, Any] | None], optimizer: torch.optim.Optimizer) -> None:
    """Raises ConfigError for an option of a group that the optimizer does not read: torch takes any without a word."""
    _, hints = parameters_of(type(optimizer))
    for name, group in groups.items():
        for option, value in (group or {}).items():
            place = f"{PLACE}.groups.{name}.{option}"
            if option == "match":
                continue
            if option not in optimizer.defaults:
                raise ConfigError(f"{place} is not a setting.{did_you_mean(option, optimizer.defaults)}")
            check_value(value, hints.get(option, Any), place)


def _is_optimizer(value: Any) -> bool:
    return inspect.isclass(value) and issubclass(value, torch.optim.Optimizer) and value is not torch.optim.Optimizer
