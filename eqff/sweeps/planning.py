"""Which runs a sweep consists of: their names, folders and command lines, checked before anything starts."""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.utils import get_args_parser
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from eqff.checkpoints.atomic import replacing
from eqff.command_line.override_errors import first_lines
from eqff.command_line.overrides import (
    check_command_line,
    composition,
    is_setting,
    open_override,
    read_arguments,
    search_path,
)
from eqff.config import config_directory
from eqff.errors import ConfigError
from eqff.sweeps.space import Choice, Space

SWEEP_FILE = "sweep.json"
_LONGEST = 100  # characters of a folder's name
_LONGEST_VALUE = 32


@dataclass(frozen=True)
class Planned:
    """One run of a sweep.

    Attributes:
        name: Of its folder in the sweep's.
        overrides: Its command line, without its folder.
        folder: Where it goes.
    """

    name: str
    overrides: tuple[str, ...]
    folder: Path


def default_folder(argv: Sequence[str]) -> Path:
    """A folder whose name follows from the command line: the same command finds its runs again."""
    digest = hashlib.sha256(json.dumps(sorted(argv)).encode()).hexdigest()[:8]
    names = [text.partition("=")[2] for text in argv if text.startswith("name=")]
    return Path("runs") / "sweeps" / f"{_word(names[-1]) if names else 'sweep'}_{digest}"


def plan_grid(space: Space, folder: Path) -> list[Planned]:
    """A run for every combination.

    Raises:
        ConfigError: Nothing is varied, or the space holds an interval.
    """
    choices = list(space.combinations())
    if not space.axes:
        raise ConfigError("Nothing is varied: give a setting several values, for example seed=0,1,2.")
    names = run_names(choices)
    return [
        Planned(name, tuple(space.overrides(choice)), folder / name)
        for name, choice in zip(names, choices, strict=True)
    ]


def run_names(choices: Sequence[Choice]) -> list[str]:
    """Names such as ``lr-0.01_seed-0``: the ends of keys, as long as they are needed to tell keys apart."""
    keys = list(choices[0])
    ends = [re.split(r"[./@]", key.lstrip("+"))[-1] for key in keys]
    short = ends if len(set(ends)) == len(ends) else [_word(key.lstrip("+")) for key in keys]
    names = ["_".join(f"{end}-{_word(value)}" for end, value in zip(short, c.values(), strict=True)) for c in choices]
    unique = len(set(names)) == len(names) and all(len(name) <= _LONGEST for name in names)
    return names if unique else [f"{name[:_LONGEST]}_{_digest(c)}" for name, c in zip(names, choices, strict=True)]


def _word(text: str) -> str:
    """A value as part of a file's name; of a path its end."""
    plain = text.strip("'\"").rstrip("/").rpartition("/")[2]
    return re.sub(r"[^\w.+-]+", "-", plain)[:_LONGEST_VALUE].rstrip("-") or "x"


def _digest(choice: Choice) -> str:
    return hashlib.sha256(json.dumps(choice, sort_keys=True).encode()).hexdigest()[:6]


def composed(overrides: Sequence[str]) -> dict[str, Any]:
    """The config of one run as plain values.

    Raises:
        ConfigError: An override names nothing that there is, or a value is missing or of a wrong type.
    """
    from eqff.training.finetuning.command_line import with_structure

    directory = config_directory()
    argv = sorted((open_override(text) for text in overrides), key=is_setting)
    argv = with_structure(argv)
    check_command_line(directory, "train", argv)
    arguments = read_arguments(argv)
    _require_training(argv, arguments)
    try:
        with composition(directory):
            overrides = [*search_path(arguments), *arguments.overrides]
            cfg = hydra.compose(arguments.config_name or "train", overrides=overrides)
        values = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        missing = f"{error.full_key} is missing: give it as {error.full_key}=..."
        raise ConfigError(missing if "issing" in type(error).__name__ else first_lines(error)) from error
    return dict(values)


def _require_training(argv: Sequence[str], arguments: argparse.Namespace) -> None:
    """Refuses options by which a command would show something instead of training, or read other configs."""
    alone = get_args_parser().parse_args([])
    taken = ("overrides", "config_dir", "config_name")
    more = [name for name, value in vars(arguments).items() if name not in taken and value != getattr(alone, name)]
    if more:
        options = " ".join(text for text in argv if text.startswith("-"))
        raise ConfigError(
            f"'{options}': --{more[0].replace('_', '-')} doesn't go with several trainings; of options, "
            "--config-dir FOLDER and --config-name NAME do."
        )


def check_runs(runs: Sequence[Planned]) -> list[dict[str, Any]]:
    """Checks every run's settings as its training would, before any starts; returns their configs.

    Raises:
        ConfigError: A setting that doesn't exist or a value that it can't have, with the run that has it.
    """
    from eqff.training.quiet import quiet_libraries
    from eqff.training.settings import RunSettings  # imports torch, which --help doesn't wait for

    quiet_libraries()
    configs = []
    for run in runs:
        try:
            configs.append(composed(run.overrides))
            RunSettings.from_config({**configs[-1], "output": str(run.folder)})
        except ConfigError as error:
            raise ConfigError(f"Run {run.name}: {error}" if len(runs) > 1 else str(error)) from error
    return configs


def remember(folder: Path, runs: Sequence[Planned], settings: Mapping[str, Any]) -> None:
    """Writes down which runs a sweep has; more can be added by a later command.

    Raises:
        ConfigError: The folder has a run of that name with other settings.
    """
    file = folder / SWEEP_FILE
    known: dict[str, list[str]] = {}
    if file.is_file():
        known = json.loads(file.read_text(encoding="utf-8"))["runs"]
    for run in runs:
        before = known.get(run.name)
        if before is not None and sorted(before) != sorted(run.overrides):
            other = sorted(set(before) ^ set(run.overrides))
            raise ConfigError(
                f"'{folder}' holds another sweep: its run {run.name} differs in {' '.join(other)}. Give another "
                "sweep.folder."
            )
        known[run.name] = list(run.overrides)
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(file) as temporary:
        content = {"settings": dict(settings), "runs": known}
        temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def remembered(folder: Path, name: str) -> Planned:
    """A run of a sweep as `remember` has written it down."""
    known = json.loads((folder / SWEEP_FILE).read_text(encoding="utf-8"))["runs"]
    return Planned(name, tuple(known[name]), folder / name)
