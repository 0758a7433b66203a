"""From what a user calls a model to its file: a path, a name of the registry, or an address with a scheme.

Schemes are ``hf://owner/repo`` (`eqff.registry.hub`) and those of published models (`eqff.imported`).
"""

from __future__ import annotations

import importlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path

from eqff.errors import ConfigError, DownloadError, ModelFileError, StorageError, did_you_mean
from eqff.registry.cache import cached_path, sha256_of
from eqff.registry.catalogue import find_entry
from eqff.registry.download import Wanted, fetch
from eqff.registry.entry import ModelEntry

SCHEMES = {
    "hf://": "eqff.registry.hub.fetch_from_hub",
    "sevenn://": "eqff.imported.sevenn_package.fetch_from_sevenn",
}
"""How an address begins, and the function that brings the file from there."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Located:
    """A model file on this machine, or a path that may hold one, and the registry's entry where it came from there."""

    path: Path
    entry: ModelEntry | None = None


def locate(source: str | Path) -> Located:
    """Finds a model; downloads it if need be.

    Args:
        source: Begins with one of `SCHEMES`; or what exists as a path is a path; other words without a separator or
            suffix are names.

    Raises:
        ConfigError: A registry or an address can't be read.
        ModelFileError: There is no model of that name.
        DownloadError: It can't be downloaded, or is not the file that the registry describes.
        StorageError: There is nowhere to download it to.
    """
    text = str(source)
    if not text.strip():
        raise ModelFileError("The model's name is empty: give a model file, a run folder, or a name of eqff-models.")
    if not isinstance(source, Path) and "://" in text:
        return Located(_fetch(text))
    if isinstance(source, Path) or not is_name(text):
        return Located(Path(source))
    if Path(text).exists():
        return Located(Path(text))
    entry = find_entry(text)
    return Located(file_of(entry), entry)


def is_name(text: str) -> bool:
    """Whether a text can only be a name, unless a file or folder is called so."""
    separators = {os.sep, os.altsep or os.sep}
    return bool(text) and not separators & set(text) and text[0] not in ".~" and Path(text).suffix != ".safetensors"


def lasting(source: str) -> str:
    """What finds the same model from any working folder: names as they are, paths made absolute."""
    if "://" in source or (is_name(source) and not Path(source).exists()):
        return source
    return str(Path(source).expanduser().resolve())


def _fetch(address: str) -> Path:
    scheme = address.partition("://")[0] + "://"
    if scheme not in SCHEMES:
        raise ConfigError(f"'{address}' is no address of a model.{did_you_mean(scheme, SCHEMES)}")
    module, _, function = SCHEMES[scheme].rpartition(".")
    return getattr(importlib.import_module(module), function)(address)  # imports torch only where it is needed


def file_of(entry: ModelEntry) -> Path:
    """The file of an entry, its hash checked.

    Raises:
        DownloadError: Its hash is another, it is nowhere, or it can't be downloaded.
    """
    for path in entry.local_files:
        if path.is_file():
            return _checked(path, entry)
    if not entry.web_addresses:
        places = ", ".join(map(str, entry.local_files))
        raise DownloadError(f"'{entry.name}' should be at {places}, but is not. Correct the registry {entry.source}.")
    wanted = Wanted(entry.name, entry.sha256, entry.size, entry.web_addresses)
    return fetch(wanted, cached_path(entry.name, entry.sha256))


def is_here(entry: ModelEntry) -> bool:
    """Whether an entry can be loaded without network; its hash is not looked at."""
    return place_of(entry) is not None


def place_of(entry: ModelEntry) -> Path | None:
    """The file of an entry if it is on this machine; its hash is not looked at."""
    places = list(entry.local_files)
    try:
        places.append(cached_path(entry.name, entry.sha256))
    except StorageError:  # no cache, so nothing is in it
        pass
    return next((path for path in places if path.is_file()), None)


def _checked(path: Path, entry: ModelEntry) -> Path:
    found = sha256_of(path)
    if found != entry.sha256:
        raise DownloadError(
            f"{path} has the sha256 {found}, but '{entry.name}' of {entry.source} must have {entry.sha256}: it is "
            "another file, and nothing was loaded. Replace it, or load it by its path if you trust it."
        )
    return path
