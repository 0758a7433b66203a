"""Which pretrained models there are: the package's registry, the user's, and files named by an environment variable.

A registry is JSON: YAML would read the element No as false.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eqff.config import settings
from eqff.errors import ConfigError, ModelFileError, did_you_mean
from eqff.registry.entry import ModelEntry

FORMAT = 1
"""Of registry files."""
REGISTRY_VARIABLE = "EQFF_REGISTRY"
"""Registry files, or folders of them, separated as in PATH."""
REGISTRY_FILE = "models.json"

log = logging.getLogger(__name__)


def user_models() -> Path:
    """The folder of the user's own registries and models: ``~/.local/share/eqff/models``, after ``XDG_DATA_HOME``.

    Raises:
        RuntimeError: There is no home.
    """
    return Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser() / "eqff" / "models"


def registry_files() -> list[Path]:
    """All registry files; an earlier one hides models of the same name in later ones.

    Raises:
        ConfigError: `REGISTRY_VARIABLE` names what is not there.
    """
    named = [text for text in os.environ.get(REGISTRY_VARIABLE, "").split(os.pathsep) if text]
    files = []
    for path in (Path(text).expanduser() for text in named):
        if not path.exists():
            raise ConfigError(f"{REGISTRY_VARIABLE} names '{path}', which does not exist.")
        files += sorted(path.glob("*.json")) if path.is_dir() else [path]
    try:
        own = sorted(user_models().glob("*.json"))
    except RuntimeError:  # no home, and so no models of the user's own
        own = []
    return list(dict.fromkeys([*files, *own, Path(__file__).with_name(REGISTRY_FILE)]))


def catalogue() -> dict[str, ModelEntry]:
    """All models by name.

    Raises:
        ConfigError: A registry file can't be read.
    """
    found: dict[str, ModelEntry] = {}
    for path in registry_files():
        for name, entry in read_registry(path).items():
            if name in found and found[name].sha256 != entry.sha256:
                log.warning("'%s' of %s hides another model of that name in %s.", name, found[name].source, path)
            found.setdefault(name, entry)
    return found


def find_entry(name: str) -> ModelEntry:
    """The model of that name.

    Raises:
        ModelFileError: There is none; the message says which there are.
    """
    known = catalogue()
    if name in known:
        return known[name]
    hint = did_you_mean(name, known) if known else " No registry has any: python tools/make_models.py makes some."
    raise ModelFileError(f"There is no model at '{name}', and no pretrained one of that name.{hint}")


def read_registry(path: Path) -> dict[str, ModelEntry]:
    """The models of one registry file.

    Raises:
        ConfigError: Not JSON, of a later format, or an entry is wrong; the message names file and entry.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_unique)
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"The registry {path} can't be read: {error}. Mend it or take it away.") from error
    models = content.get("models") if isinstance(content, dict) else None
    if not isinstance(models, dict):
        raise ConfigError(f'{path} is no registry: it must be {{"format": {FORMAT}, "models": {{NAME: ...}}}}.')
    if content.get("format") != FORMAT:
        raise ConfigError(f"{path} is a registry of format {content.get('format')}, not {FORMAT}. Update eqff.")
    return {
        name: settings(ModelEntry, values, f"{path}: {name}", {"name": name, "source": path})
        for name, values in models.items()
    }


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; of two entries with one name, Python would silently take the later one."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name, _ in pairs if sum(name == other for other, _ in pairs) > 1)
        raise ValueError(f"'{twice}' stands there twice")
    return found


def registry_text(models: Mapping[str, Mapping[str, Any]]) -> str:
    """A registry file of entries as plain values, without ``name`` and ``source``."""
    return json.dumps({"format": FORMAT, "models": dict(models)}, indent=2, ensure_ascii=False) + "\n"
