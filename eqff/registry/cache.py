"""Where downloaded models stay, and whether anything may be downloaded."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from eqff.errors import StorageError

CACHE_VARIABLE = "EQFF_CACHE"
OFFLINE_VARIABLE = "EQFF_OFFLINE"


def cache_folder() -> Path:
    """``models`` in the folder that ``EQFF_CACHE`` names, else in ``eqff`` of ``XDG_CACHE_HOME`` or ``~/.cache``.

    Raises:
        StorageError: Nothing is named and there is no home.
    """
    root = os.environ.get(CACHE_VARIABLE)
    try:
        if root:
            return Path(root).expanduser() / "models"
        return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "eqff" / "models"
    except RuntimeError as error:
        raise StorageError(f"No folder to keep models in: {error} {CACHE_VARIABLE} can name one.") from error


def cached_path(label: str, sha256: str) -> Path:
    """Where a file with this content lies once it is here: another content under the same name is another file.

    Args:
        label: For human eyes; anything but letters, digits, '.', '_' and '-' becomes '-'.
        sha256: Of the content.
    """
    clean = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "._-") else "-" for letter in label)
    return cache_folder() / f"{clean}-{sha256[:16]}.safetensors"


def offline() -> bool:
    """Whether ``EQFF_OFFLINE`` forbids any access to the network."""
    return os.environ.get(OFFLINE_VARIABLE, "").strip().lower() not in ("", "0", "false", "no", "off")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
