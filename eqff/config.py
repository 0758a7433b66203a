"""Where the configuration lives, and how its sections become checked settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from eqff.errors import ConfigError, did_you_mean

Settings = TypeVar("Settings")


def config_directory() -> Path:
    """The folder with the Hydra groups: inside an installed package, or ``conf/`` of the checkout.

    Raises:
        ConfigError: Neither exists.
    """
    package = Path(__file__).resolve().parent
    for candidate in (package / "conf", package.parent / "conf"):
        if (candidate / "train.yaml").is_file():
            return candidate
    raise ConfigError(f"No configuration folder beside or inside {package}: install eqff again.")


def settings(kind: type[Settings], values: Mapping[str, Any], place: str) -> Settings:
    """A dataclass of settings from one section of the config.

    Args:
        kind: A dataclass whose fields are the section's keys.
        values: The section as plain values.
        place: Where the section stands in the config, for messages.

    Raises:
        ConfigError: An unknown or missing key; the message suggests the nearest one.
    """
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}
    for key in values:
        if key not in fields:
            raise ConfigError(f"{place}.{key} is not a setting.{did_you_mean(str(key), fields)}")
    for name, field in fields.items():
        has_default = (field.default, field.default_factory) != (dataclasses.MISSING, dataclasses.MISSING)
        if name not in values and not has_default:
            raise ConfigError(f"{place}.{name} is missing.")
    return kind(**values)
