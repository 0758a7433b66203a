"""What was read from which key of which files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from eqff.data.atomic_data import AtomicData
from eqff.data.convert import Converter
from eqff.errors import DataError, did_you_mean


@dataclass
class Account:
    """What was read from which key.

    Attributes:
        used: How often each (key, field) was read.
        unused: How often each key was seen and not read.
        notes: What was left out and why, by file and key.
    """

    used: Counter[tuple[str, str]] = field(default_factory=Counter)
    unused: Counter[str] = field(default_factory=Counter)
    notes: dict[tuple[str, str], str] = field(default_factory=dict)

    def take(self, file: Path, converter: Converter) -> None:
        """Adds what a converter has done with frames of a file."""
        self.used += converter.used
        self.unused += converter.unused
        for key, note in converter.notes.items():
            self.notes.setdefault((str(file), key), note)

    def add(self, other: Account) -> None:
        """Adds the account of further frames."""
        self.used += other.used
        self.unused += other.unused
        self.notes = other.notes | self.notes


@dataclass
class FrameSet:
    """Structures that were read together.

    Attributes:
        frames: In the order of the files.
        files: The files.
        account: What was read from which key.
    """

    frames: Sequence[AtomicData] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    account: Account = field(default_factory=Account)

    @property
    def used(self) -> Counter[tuple[str, str]]:
        """How often each (key, field) was read."""
        return self.account.used

    @property
    def unused(self) -> Counter[str]:
        """How often each key was seen and not read."""
        return self.account.unused

    @property
    def notes(self) -> list[str]:
        """What was left out and why."""
        return list(self.account.notes.values())


def check_keys(keys: Mapping[str, str | None], read: FrameSet) -> None:
    """Checks that every key that the user named was in some frame.

    Raises:
        DataError: Suggests the nearest key that is there.
    """
    for key, text in _missing(keys, read).items():
        raise DataError(f"{text}{did_you_mean(key, _seen(read))}")


def note_missing_keys(keys: Mapping[str, str | None], read: FrameSet) -> None:
    """Notes in the account which keys that the user named were in no frame."""
    for key, text in _missing(keys, read).items():
        read.account.notes["", key] = f"{text} Nothing else is read as that."


def _missing(keys: Mapping[str, str | None], read: FrameSet) -> dict[str, str]:
    """Key to what is to be said of it."""
    files = ", ".join(dict.fromkeys(file.name for file in read.files))
    missing = {key: target for key, target in keys.items() if target is not None and key not in _seen(read)}
    return {key: f"data.keys: no frame of {files} has '{key}' (for {target})." for key, target in missing.items()}


def _seen(read: FrameSet) -> set[str]:
    return set(read.unused) | {key for key, _ in read.used}
