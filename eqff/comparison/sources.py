"""What a user names, as runs: folders, patterns, folders of folders, W&B's offline runs, W&B projects."""

from __future__ import annotations

import glob
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eqff.comparison.evaluations import is_evaluation_folder, read_evaluations
from eqff.comparison.folders import is_run_folder, read_folder
from eqff.comparison.run import Run
from eqff.comparison.wandb_runs import read_offline, read_project
from eqff.errors import ConfigError, DataError

_PROJECT = re.compile(r"(wandb:)?[\w.-]+/[\w.-]+")
_OFFLINE = "offline-run-*"
# what W&B puts around a run's identity: its start, and -1, -2, ... where one of the same second was there already
_OFFLINE_NAME = re.compile(r"^offline-run-\d+_\d+-|-\d+$")
_WANDB_ID = "wandb_run.json"


@dataclass
class Runs:
    """What `read_runs` found.

    Attributes:
        runs: In the order in which they were named, folders inside of a folder by name.
        problems: Why something was left out, in sentences.
    """

    runs: list[Run] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def read_runs(*sources: str | Path, filters: Mapping[str, Any] | None = None, api: Any = None) -> Runs:
    """Reads runs from wherever they are; one that can't be read is left out and told among ``problems``.

    Args:
        sources: Run folders, folders of evaluations, folders that hold some at any depth, patterns (``runs/*-0``),
            W&B's offline folders (``wandb/offline-run-*``), or W&B projects as ``entity/project``. Of an offline run
            that lies in its run folder that folder is read, because its own files lose nothing when a run is killed.
        filters: For W&B projects, see `eqff.comparison.wandb_runs.read_project`.
        api: A ``wandb.Api`` in place of the usual one.

    Raises:
        ConfigError: A source does not exist, or a W&B project can't be read.
        DataError: There is no run at all that can be read.
    """
    found, places = Runs(), {}
    for source in sources:
        for path in _paths(str(source)):
            if isinstance(path, str):
                found.runs += read_project(path, filters, api)
                continue
            _add(places, path, found)
    for paths in places.values():
        try:
            found.runs.append(_read(paths))
        except DataError as error:
            found.problems.append(f"Left out: {error}")
    if not found.runs:
        named = ", ".join(f"'{source}'" for source in sources) or "nothing"
        reasons = "".join(f"\n  {problem}" for problem in found.problems)
        hint = reasons or " A run folder is what a training leaves; it holds config.yaml and metrics.jsonl."
        raise DataError(f"No run to compare in {named}.{hint}")
    return found


def _read(paths: list[Path]) -> Run:
    """The run in these folders, of which there are several only of W&B's."""
    first = paths[0]
    if _is_offline(first):
        return read_offline(paths)
    return read_evaluations(first) if is_evaluation_folder(first) else read_folder(first)


def _add(places: dict[str, list[Path]], path: Path, found: Runs) -> None:
    """Puts a path to those of its run; one that is there already is told."""
    path = _own_folder(path) or path
    key = _wandb_key(path) if _is_offline(path) else str(path.resolve())
    known = places.setdefault(key, [])
    if path.resolve() in [other.resolve() for other in known]:
        found.problems.append(f"'{path}' is named twice and counted once.")
    else:
        known.append(path)


def _paths(source: str) -> Iterator[Path | str]:
    """Run folders and offline folders that a source names, or the name of a W&B project."""
    path = Path(source).expanduser()
    if glob.has_magic(source) and not path.exists():
        matches = sorted(glob.glob(str(path)))
        if not matches:
            raise ConfigError(f"Nothing matches '{source}'. Give run folders, or a folder that holds some.")
        for match in matches:
            if Path(match).is_dir():  # a pattern such as runs/* also matches tables and figures
                yield from _inside(Path(match))
    elif path.is_dir():
        yield from [path] if _is_offline(path) else _inside(path)
    elif path.is_file():
        yield _folder_of_file(path)
    elif _PROJECT.fullmatch(source):
        yield source.removeprefix("wandb:")
    else:
        raise ConfigError(
            f"There is no '{source}'. Give run folders, a folder that holds some, a pattern, or a W&B project as "
            "entity/project."
        )


def _inside(folder: Path) -> Iterator[Path]:
    """Run folders and offline folders at or below a folder, in the order of their names."""
    for path, names, files in os.walk(folder):
        here = Path(path)
        if is_run_folder(here) or (here == folder and "config.yaml" in files):
            names.clear()
            yield here
        elif _is_offline(here) or is_evaluation_folder(here):
            names.clear()
            yield here
        names[:] = sorted(name for name in names if not name.startswith("."))


def _folder_of_file(path: Path) -> Path:
    if path.suffix == ".wandb" or is_run_folder(path.parent):
        return path.parent
    raise ConfigError(f"'{path}' is a file. Give the folder of its run.")


def _is_offline(path: Path) -> bool:
    return path.match(_OFFLINE) and path.is_dir()


def _wandb_key(path: Path) -> str:
    """The same for all offline folders of one resumed run."""
    return f"wandb:{path.parent.resolve()}:{_OFFLINE_NAME.sub('', path.name)}"


def _own_folder(path: Path) -> Path | None:
    """The run folder in which an offline folder lies as ``wandb/offline-run-...``; None if it lies elsewhere."""
    if not _is_offline(path) or path.absolute().parent.name != "wandb":
        return None
    folder = path.absolute().parent.parent
    identity = folder / _WANDB_ID
    if not is_run_folder(folder) or not identity.is_file():
        return None
    try:
        known = json.loads(identity.read_text(encoding="utf-8")).get("id")
    except (json.JSONDecodeError, AttributeError):
        return None
    return folder if _OFFLINE_NAME.sub("", path.name) == known else None
