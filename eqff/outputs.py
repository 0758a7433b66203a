"""Whether results can be written, asked before any work is done."""

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
