"""Whether and under which names results can be written, asked before any work is done."""

from __future__ import annotations

import os
from pathlib import Path

from eqff.errors import ConfigError


def require_writable(folder: str | Path, key: str = "output") -> None:
    """Checks that a folder can be made or written into, without making it.

    Args:
        folder: Where something is going to be written.
        key: The setting that names it, for messages.

    Raises:
        ConfigError: A file stands in its place, or the rights are missing.
    """
    path = Path(folder).expanduser()
    there = next((candidate for candidate in (path, *path.absolute().parents) if candidate.exists()), Path("/"))
    if not there.is_dir():
        raise ConfigError(f"{key}: '{path}' can't be a folder, because '{there}' is a file. Give another {key}=...")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ConfigError(f"{key}: no right to write into '{there}'. Give another {key}=...")


def require_set_name(name: str, place: str) -> None:
    """Checks the name of a set of structures: its files and metrics (``NAME/forces_mae``) are called by it.

    Args:
        name: As given.
        place: The setting that gives it, for messages.

    Raises:
        ConfigError: It is empty, begins with a dot, has a separator of folders or ends lines.
    """
    if not name or name[0] == "." or any(sign in "/\\" or not sign.isprintable() for sign in name):
        raise ConfigError(
            f"{place}: '{name}' can't be the name of a set, because files and metrics are called by it. Take one "
            "without a slash that doesn't begin with a dot."
        )
