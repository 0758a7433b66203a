"""Packages besides eqff whose code configs, model files and readers may use, because the user named them."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

from eqff.errors import ConfigError

_ALLOWED_PACKAGES = ["eqff"]


def allow(package: str) -> None:
    """Lets configs and model files name parts of another package too, for example your own ``my_parts``.

    Only code that the user imports or names calls this; a model file never can.
    """
    if package not in _ALLOWED_PACKAGES:
        _ALLOWED_PACKAGES.append(package)


def allowed_packages() -> tuple[str, ...]:
    """Names of all packages that may be used, eqff first."""
    return tuple(_ALLOWED_PACKAGES)


def declared(name: str) -> Iterator[Any]:
    """The members of the tuples that packages of users have under a name, for example ``READERS``.

    Raises:
        ConfigError: A package can't be imported.
    """
    for package in _ALLOWED_PACKAGES[1:]:
        try:
            module = importlib.import_module(package)
        except ImportError as error:
            raise ConfigError(
                f"packages: '{package}' can't be imported ({error}). It must be a folder or module on Python's path; "
                "`python -m eqff.train` also looks in the working folder."
            ) from error
        yield from getattr(module, name, ())
