"""From one part's config to an object: the only place where class names in a config become objects."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Collection, Mapping
from typing import Any

from eqff.errors import ConfigError
from eqff.packages import allowed_packages
from eqff.parts import Part
from eqff.validation import check_arguments, parameters_of


def locate(target: str, base: type = Part) -> type:
    """The class that a config's ``_target_`` names, if it may be built.

    Raises:
        ConfigError: Outside the allowed packages, absent, or not a subclass of ``base``.
    """
    module_name, _, class_name = target.rpartition(".")
    if module_name.split(".")[0] not in allowed_packages():
        raise ConfigError(
            f"'{target}' is not in an allowed package ({', '.join(allowed_packages())}). If it is your own part, call "
            f"eqff.allow('{target.split('.')[0]}') or give packages=[{target.split('.')[0]}] first."
        )
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"There is no '{target}' to build: {error}") from error
    if not (inspect.isclass(found) and issubclass(found, base)):
        raise ConfigError(f"'{target}' can't stand here: a {base.__name__} is needed.")
    return found


def part_class(config: Any, base: type, place: str) -> type:
    """The class of a part's config; ``place`` is where it stands, for messages."""
    if not isinstance(config, Mapping):
        raise ConfigError(f"{place} is {config!r}, but must be a section with '_target_' and settings, or null.")
    target = config.get("_target_")
    if not isinstance(target, str):
        raise ConfigError(f"{place} has no '_target_': it must name the class to build, as package.module.Class.")
    return locate(target, base)


def check_part(config: Any, base: type, offered: Collection[str], place: str) -> type:
    """Checks a part's config against the annotated signature of its class, without building it.

    Args:
        config: ``_target_`` and arguments.
        base: What the part must be.
        offered: Names of the values that are passed where the config doesn't give them.
        place: Where in the config this stands, for messages.

    Raises:
        ConfigError: An unknown or missing argument, a wrong type, a number out of its range.
    """
    kind = part_class(config, base, place)
    arguments = {key: value for key, value in config.items() if key != "_target_"}
    check_arguments(kind, arguments, place, offered=offered)
    return kind


def construct(config: Mapping[str, Any], base: type, offers: Mapping[str, Any], place: str) -> Any:
    """Builds one part from its config.

    Args:
        config: ``_target_`` and arguments.
        base: What the part must be.
        offers: Values from data and other parts; those that the constructor names and the config leaves out are passed.
        place: Where in the config this stands, for messages.

    Raises:
        ConfigError: Arguments that don't fit, or that the constructor refuses.
    """
    kind = check_part(config, base, offers, place)
    accepted, _ = parameters_of(kind)
    arguments = {key: value for key, value in config.items() if key != "_target_"}
    offered = {key: value for key, value in offers.items() if key in accepted and key not in arguments}
    try:
        return kind(**offered, **arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"{place} can't be built as {kind.__name__}: {error}. If its settings are right, the part has a fault; "
            "HYDRA_FULL_ERROR=1 shows where."
        ) from error
