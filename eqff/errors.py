"""The errors that eqff raises on purpose: each says what is wrong, where, and what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class EqffError(Exception):
    """Base of every error that a user can mend; commands print it as one message without a traceback."""


class ConfigError(EqffError):
    """A setting is unknown, missing, or out of range."""


class DataError(EqffError):
    """A file, a frame or a label can't be used as it is."""


class ModelError(EqffError):
    """A model can't be built, loaded, or asked for this structure."""


class ModelFileError(ModelError):
    """A model file or a checkpoint is damaged, foreign, too new, or not to be trusted; nothing of it was executed."""


class DownloadError(ModelError):
    """A model can't be fetched, or what came is not what was asked for; nothing was loaded."""


class TrainingError(EqffError):
    """Training can't go on: the loss is no number, or there is nothing to resume."""


class StorageError(EqffError):
    """A file can't be written: the disk is full, or a quota is reached."""


class ConvergenceError(EqffError):
    """An iterative solver did not reach its tolerance."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A suggestion for a misspelt name, followed by all that is known.

    Returns:
        For example ``" Did you mean 'forces'? Known: dipole, energy, forces."``
    """
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    return f"{hint} Known: {', '.join(names)}."
