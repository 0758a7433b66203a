"""Whether a loop can go on in a folder: what is there must have been made with the same settings and structures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from eqff.active.candidates import identity
from eqff.active.settings import ActiveSettings
from eqff.checkpoints.plain import plain
from eqff.data.atomic_data import AtomicData
from eqff.errors import ConfigError
from eqff.simulation.finish import write_json

SETTINGS_FILE = "active.json"
_STRUCTURES = "structures"  # key of that file: what the files held, which may change under the same name

_TRAINING = dict.fromkeys(("train", "test", "committee", "packages"), "round_*/sweep.json")
_LATER = dict.fromkeys(("strategy", "clusters", "samples", "count", "begin"), "round_01/[!.]*")
_MADE_WITH = {"label": "round_*/labelled.extxyz", **_TRAINING, **_LATER}
_FIRST = "round_00/[!.]*"  # and all the others
"""From a setting to the files that are made with it: as long as there are none, it can be changed."""


def require_same(folder: Path, chosen: ActiveSettings, report: Callable[[str], None]) -> None:
    """Keeps the settings in the folder; one that nothing was made with yet may change.

    Args:
        folder: Of the loop.
        chosen: Its settings now.
        report: Is told what has changed.

    Raises:
        ConfigError: The folder holds what was made with other settings; names all that differ.
    """
    path, own = folder / SETTINGS_FILE, json.loads(json.dumps(plain(chosen.decisive())))
    if not path.is_file():
        write_json(path, own)
        return
    stored = json.loads(path.read_text(encoding="utf-8"))
    before = {name: stored.get(name, _default(name)) for name in own}
    changed = [name for name in own if before[name] != own[name]]
    fixed = [name for name in changed if any(folder.glob(_MADE_WITH.get(name, _FIRST)))]
    if fixed:
        lines = "\n".join(f"  {name}: {before[name]} there, {own[name]} now" for name in fixed)
        raise ConfigError(
            f"{folder} holds a loop, and what is there was made with other settings:\n{lines}\nGive those of there to "
            f"go on (rounds and launch may differ), or another output.{_labels_in(folder)}"
        )
    for name in changed:
        report(f"{name}: {own[name]} from now on, {before[name]} before; nothing was made with it yet")
    if changed:
        write_json(path, stored | own)


def require_same_structures(
    folder: Path, held_back: Sequence[AtomicData], pool: Sequence[AtomicData], report: Callable[[str], None]
) -> None:
    """Keeps a digest of the structures in the folder, next to the settings.

    Args:
        folder: Of the loop, with its settings.
        held_back: With their labels.
        pool: To choose from; it may change: what was chosen from it stays.
        report: Is told so.

    Raises:
        ConfigError: The held-back structures are others than those that rounds were validated with.
    """
    path = folder / SETTINGS_FILE
    stored = json.loads(path.read_text(encoding="utf-8"))
    own = {"held_back": _digest(held_back), "pool": _digest(pool)}
    before: Mapping[str, str] = stored.get(_STRUCTURES, own)
    if any(folder.glob(_FIRST)):
        if before["held_back"] != own["held_back"]:
            raise ConfigError(
                f"held_back: the file has other structures or labels than when the loop in {folder} began, and its "
                f"rounds were validated with those. Bring them back, or give another output.{_labels_in(folder)}"
            )
        if before["pool"] != own["pool"]:
            report(f"pool: it has other structures than before ({len(pool)} now); what was chosen from it stays")
    if stored.get(_STRUCTURES) != own:
        write_json(path, stored | {_STRUCTURES: own})


def _digest(frames: Iterable[AtomicData]) -> str:
    """The same for the same structures with the same energies, in any order."""
    lines = sorted(f"{identity(f)} {float(f.energy) if f.has('energy') else None}" for f in frames)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _default(name: str) -> Any:
    """Of a setting that a loop of an earlier version doesn't know."""
    field = next(field for field in fields(ActiveSettings) if field.name == name)
    made = field.default_factory() if field.default_factory is not MISSING else field.default
    return None if made is MISSING else json.loads(json.dumps(plain(made)))


def _labels_in(folder: Path) -> str:
    """How to take the labels along."""
    found = sorted(folder.glob("round_*/train.extxyz"))
    return f" With initial={found[-1]} it begins with the labels that there are." if found else ""
