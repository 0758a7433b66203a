"""Where the configuration lives, and how its sections become checked settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from eqff.errors import ConfigError

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


def settings(
    kind: type[Settings], values: Mapping[str, Any], place: str, given: Mapping[str, Any] | None = None
) -> Settings:
    """A dataclass of settings from one section of the config.

    Args:
        kind: A dataclass whose annotated fields are the section's keys, types and ranges.
        values: The section as plain values.
        place: Where the section stands in the config, for messages.
        given: Fields that the section doesn't hold.

    Raises:
        ConfigError: An unknown or missing key, a wrong type, or a number out of range, named with the full key.
    """
    from eqff.validation import check_arguments  # pydantic, which --help doesn't wait for

    given = given or {}
    known = [field.name for field in dataclasses.fields(kind) if field.init and field.name not in given]
    check_arguments(kind, values, place, known=known)
    return kind(**values, **given)
