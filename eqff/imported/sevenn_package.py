"""``sevenn://NAME``: a model of the package ``sevenn``, converted once and kept in the cache as an eqff model file.

The package is needed for the conversion only. Its checkpoints are pickles, which execute code when they are read: those
of the installed package are as trustworthy as the package; of other files the user has to know.
"""

from __future__ import annotations

import hashlib
import logging
import pickle
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eqff.errors import ConfigError, DownloadError, ModelFileError, did_you_mean
from eqff.registry.cache import OFFLINE_VARIABLE, cached_path, offline, sha256_of

PREFIX = "sevenn://"
SHIPPED = ("7net-0", "7net-0_22may2024", "7net-l3i5")
"""Models whose weights come inside of the package and can be imported."""
ABOUT = {
    "licence": "MIT, of the package sevenn",
    "citation": "Park et al., J. Chem. Theory Comput. 20, 4857 (2024), doi 10.1021/acs.jctc.4c00190",
    "training_data": "MPtrj: relaxations of the Materials Project, PBE with Hubbard U where it has them",
    # neutral cells; the model doesn't read the multiplicity, and none of them can surprise it
    "states": [{"total_charge": 0, "multiplicity": spin, "frames": 0} for spin in range(1, 31)],
}
LEVEL = "PBE(+U), Materials Project"
VERSION = 2
"""Of the conversion: another one makes other files in the cache."""

_NOT_THEIRS = (  # what unpickling, SevenNet and the conversion raise on files of others and on parts of files
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)

log = logging.getLogger(__name__)


def fetch_from_sevenn(source: str) -> Path:
    """The model file of ``sevenn://NAME`` or ``sevenn:///path/to/checkpoint.pth``, converted unless it is in the cache.

    Raises:
        ConfigError: The package is not installed.
        DownloadError: SevenNet would download the model, which is forbidden.
        ModelFileError: No such model, or one that eqff's parts can't express.
    """
    name = source.removeprefix(PREFIX)
    checkpoint = Path(name).expanduser() if "/" in name else _shipped(name)
    if not checkpoint.is_file():
        kind = "is a folder, not" if checkpoint.is_dir() else "is not there:"
        raise ModelFileError(
            f"'{checkpoint}' {kind} a SevenNet checkpoint. Give the .pth file that SevenNet has written."
        )
    if checkpoint.suffix == ".safetensors":
        raise ModelFileError(f"'{checkpoint}' is no SevenNet checkpoint. If it is eqff's, load it without {PREFIX}")
    identity = hashlib.sha256(f"{VERSION} {sha256_of(checkpoint)}".encode()).hexdigest()
    target = cached_path(f"sevenn-{checkpoint.stem if '/' in name else name}", identity)
    if not target.is_file():
        _convert(checkpoint, source, target, known="/" not in name)
    return target


def _shipped(name: str) -> Path:
    util = _package("util")
    if offline() and name.lower() not in SHIPPED:
        raise DownloadError(f"sevenn may have to download '{name}', which {OFFLINE_VARIABLE} forbids.")
    try:
        return Path(util.pretrained_name_to_path(name))
    except ValueError as error:
        raise ModelFileError(f"sevenn has no model '{name}'.{did_you_mean(name, SHIPPED)}") from error
    except OSError as error:
        raise DownloadError(
            f"sevenn could not bring '{name}': {error}. Its package holds {', '.join(SHIPPED)}; other files are given "
            f"as {PREFIX}/path/to/checkpoint.pth."
        ) from error


def _convert(checkpoint: Path, source: str, target: Path, known: bool) -> None:
    import torch

    from eqff.checkpoints.model_file import save_model
    from eqff.imported.sevenn import convert
    from eqff.imported.sevenn_config import require_supported

    package = _package("checkpoint")
    log.info("%s is converted from %s", source, checkpoint)
    with _told_as_a_file(checkpoint):
        read = package.SevenNetCheckpoint(str(checkpoint))
        config = read.config
        require_supported(config)  # before SevenNet builds what can't be converted
        made = convert(config, read.build_model().state_dict(), LEVEL if known else "", torch.float32)
    about = ABOUT if known else {"states": ABOUT["states"]}
    about = about | {"name": source if known else f"{PREFIX}{checkpoint.name}"}  # model files name no folders
    save_model(target, made.potential, model_config=made.model_config, context=made.context, metadata=about)


@contextmanager
def _told_as_a_file(checkpoint: Path) -> Iterator[None]:
    """What a file that isn't SevenNet's, or not whole, makes fail is one message about that file."""
    try:
        yield
    except _NOT_THEIRS as error:
        reason = (str(error).strip().splitlines() or [""])[0][:200]
        raise ModelFileError(
            f"'{checkpoint}' can't be read as a SevenNet checkpoint ({type(error).__name__}: {reason}). It is cut off, "
            "damaged, another program's, or of a version that the installed sevenn doesn't know: download it again or "
            "try it with SevenNet itself."
        ) from error


def _package(module: str) -> Any:
    import importlib

    try:
        return importlib.import_module(f"sevenn.{module}")
    except ImportError as error:
        raise ConfigError(
            f"{PREFIX} needs the package sevenn, which can't be imported ({error}): pip install 'eqff[sevenn]'."
        ) from error
