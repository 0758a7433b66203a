"""What the registry says about one pretrained model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from ase.data import chemical_symbols

from eqff.errors import ConfigError
from eqff.outside import Outside
from eqff.ranges import Count

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """One model of a registry file, where ``name`` is the key and ``source`` the file itself.

    Attributes:
        name: By which it is loaded.
        sha256: Of the file, 64 hexadecimal digits.
        size: Of the file in bytes.
        urls: Where the file is, tried in this order: https, http, or a path, relative to the registry file.
        licence: Of the weights.
        summary: One line.
        training_data: What it was trained on, with a reference.
        method: Level of theory of the labels.
        elements: Chemical symbols.
        states: Total charge in e and multiplicity 2S+1 of the states in training, ``[[0, 1], [1, 2]]``.
        errors: Of test sets, as evaluations name them: ``test/forces_mae``.
        units: Of ``errors``, by their names without the set: ``forces_mae``.
        citation: What to cite; "" for nothing.
        caution: What its user has to know before quoting its numbers.
        outside: What happens on states that training had not, where nobody says: "allow", "warn" or "refuse".
        source: The registry file.

    Raises:
        ConfigError: A name, hash, URL, element or state that can't be one.
    """

    name: str
    sha256: str
    size: Count
    urls: Sequence[str]
    licence: str
    summary: str
    training_data: str
    method: str
    elements: Sequence[str]
    states: Sequence[Sequence[int]]
    errors: Mapping[str, float] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    citation: str = ""
    caution: str = ""
    outside: Outside = "warn"
    source: Path = Path()

    def __post_init__(self) -> None:
        place = f"{self.source}: '{self.name}'"
        if not _NAME.fullmatch(self.name):
            raise ConfigError(f"{place} can't be a model's name: letters, digits, '.', '_' and '-', at most 64.")
        if not _SHA256.fullmatch(self.sha256):
            raise ConfigError(f"{place}: sha256 is {self.sha256!r}, but must be 64 digits 0-9a-f, as sha256sum prints.")
        if not self.urls:
            raise ConfigError(f"{place}: urls is empty: say where the file is.")
        for url in self.urls:
            if "://" in url and _scheme(url) not in ("http", "https"):
                raise ConfigError(f"{place}: '{url}' is neither https, http nor a path relative to the registry file.")
        unknown = [symbol for symbol in self.elements if symbol not in chemical_symbols[1:]]
        if unknown or not self.elements:
            raise ConfigError(f"{place}: elements {unknown or '[]'} are no chemical symbols.")
        for state in self.states:
            if len(state) != 2 or state[1] < 1:
                raise ConfigError(f"{place}: {list(state)} is no [total charge, multiplicity].")

    @property
    def local_files(self) -> tuple[Path, ...]:
        """Those of ``urls`` that are files on this machine."""
        return tuple(self.source.parent / Path(url).expanduser() for url in self.urls if "://" not in url)

    @property
    def web_addresses(self) -> tuple[str, ...]:
        """Those of ``urls`` that must be downloaded."""
        return tuple(url for url in self.urls if "://" in url)


def _scheme(url: str) -> str:
    """That of an address; empty where the rest of it can be none."""
    try:
        return urlsplit(url).scheme
    except ValueError:
        return ""
