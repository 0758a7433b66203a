"""The command line: overrides of the config, and what is wrong with those that don't compose."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from eqff.errors import ConfigError, did_you_mean

HYDRA_VERSION_BASE = "1.3"
_MERGING = re.compile(r"Error merging override (.*)")
_NOISE = ("See https://", "full_key:", "object_type=", "reference_type=", "Error parsing override")

OPEN_MAPPINGS = ("data.keys", "data.units", "data.test", "test", "training.optimizer.groups")
"""Settings whose keys are names that users choose, so that new ones need no plus sign."""

OPEN_SECTIONS = (
    "model.backbone",
    "model.exchanges",
    "model.heads",
    "model.terms",
    "simulate",
    "trainer",
    "training.losses",
    "training.optimizer",
)
"""Sections that are checked against the signature that takes them, so that what no file lists needs no plus sign."""


def open_override(text: str) -> str:
    """An argument of the command line, with the prefix by which Hydra adds keys if it may name a new one."""
    key = text.split("=")[0]
    is_open = key in OPEN_MAPPINGS or any(key.startswith(f"{name}.") for name in (*OPEN_MAPPINGS, *OPEN_SECTIONS))
    return f"++{text}" if is_open and "=" in text else text


def quoted(text: str) -> str:
    """An argument of the command line, with quotes around a value that Hydra's grammar takes as text only in quotes:
    ``output=runs/Jürgen``, ``data.path=data (1).extxyz``. Whatever it can read, or looks like a list, stays."""
    key, equals, value = text.partition("=")
    if not equals or not value or text.startswith("-") or value[0] in "[{" or any(c in value for c in "\"'\\$,"):
        return text
    try:
        OverridesParser.create().parse_override(text)
    except HydraException:
        try:
            OverridesParser.create().parse_override(f'{key}="{value}"')
        except HydraException:
            return text  # it is the key that is wrong
        return f'{key}="{value}"'
    return text


def is_setting(text: str) -> bool:
    """Whether an argument of the command line is KEY=VALUE or ~KEY, not an option such as --config-dir or its value."""
    return text.startswith("~") or ("=" in text and not text.startswith("-"))


def check_command_line(directory: Path, config_name: str, argv: Sequence[str]) -> None:
    """Composes the config in a directory once, so that a wrong override is explained before anything starts.

    Raises:
        ConfigError: An override names no setting or no option of a group; the message suggests the nearest one.
    """
    arguments = read_arguments(argv)
    if arguments.multirun or arguments.hydra_help or arguments.shell_completion:
        return  # sweeps are lists of values, which only the sweeper understands
    for text in arguments.overrides:
        _check_group_syntax(directory, text)
    overrides = [*arguments.overrides, *search_path(arguments)]
    with composition(directory):
        try:
            hydra.compose(arguments.config_name or config_name, overrides=overrides)
        except YAMLError as error:
            raise ConfigError(f"A config file is no YAML: {' '.join(str(error).split())}") from error
        except OverrideParseException as error:
            text = (error.override or "").removeprefix("++")
            raise ConfigError(f"'{text}' can't be read as KEY=VALUE: {first_lines(error)}") from error
        except (ConfigCompositionException, HydraException) as error:
            raise ConfigError(_explain(directory, arguments.config_name or config_name, overrides, error)) from error
        except (ValueError, OmegaConfBaseException) as error:
            given = " ".join(text for text in overrides if _names_group(directory, text)) or "The command line"
            raise ConfigError(f"{given}: {first_lines(error)}. A group takes the name of an option.") from error


@contextmanager
def composition(directory: Path) -> Iterator[None]:
    """Configs of a directory can be composed in the block, also within a command that Hydra has started."""
    outer = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(version_base=HYDRA_VERSION_BASE, config_dir=str(directory)):
            yield
    finally:
        GlobalHydra.instance().hydra = outer


def read_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """A command line as Hydra takes it apart: ``overrides``, and options in every form that it knows.

    Raises:
        ConfigError: An option that there is not, in eqff's words.
    """
    parser = get_args_parser()
    arguments, unknown = parser.parse_known_args(list(argv))
    if unknown:
        raise ConfigError(f"'{unknown[0]}' is not understood. Settings are given as KEY=VALUE; --help lists them.")
    return arguments


def search_path(arguments: argparse.Namespace) -> list[str]:
    """The override by which configs are found in the user's own folder too; none without ``--config-dir``.

    Raises:
        ConfigError: There is no such folder.
    """
    if not arguments.config_dir:
        return []
    folder = Path(arguments.config_dir)
    if not folder.is_dir():
        raise ConfigError(f"--config-dir: there is no folder '{folder}'.")
    return [f"hydra.searchpath=[file://{folder.resolve()}]"]


def _check_group_syntax(directory: Path, text: str) -> None:
    """Refuses ``training.losses=energy``, which would replace a section by a word."""
    key, _, value = text.lstrip("+~").partition("=")
    outer = key.rpartition(".")[0]
    if not outer or "@" in key:
        return
    kind = outer.split(".")[-1].removesuffix("s")
    choices = {key.replace(".", "/"): key.replace(".", "/"), kind: f"+{kind}@{key}"}
    for group, override in choices.items():
        if (directory / group / f"{value}.yaml").is_file():
            raise ConfigError(f"'{key}' is a section, not a word: choose the option '{value}' with {override}={value}")


def _explain(directory: Path, config_name: str, overrides: Sequence[str], error: Exception) -> str:
    """The message for overrides that don't compose: the first key that doesn't exist, and the nearest that does."""
    groups = [text for text in overrides if _names_group(directory, text)]
    try:
        known = hydra.compose(config_name, overrides=groups)
    except MissingConfigException as error:
        return _explain_option(error, own_folder=any(text.startswith("hydra.searchpath=") for text in overrides))
    except HydraException as error:
        return first_lines(error)
    for override in OverridesParser.create().parse_overrides([text for text in overrides if text not in groups]):
        key = override.key_or_group
        if override.is_add() or key.startswith("hydra"):
            continue
        if not _exists(known, key):
            return f"There is no setting '{key}'.{_suggest(known, key)}"
    merging = _MERGING.match(str(error))
    return _merging(merging[1]) if merging else first_lines(error)


def _explain_option(error: MissingConfigException, own_folder: bool) -> str:
    """The message for an option that a group doesn't have; ``own_folder``: one of the user was searched too."""
    if not error.options or not error.missing_cfg_file:
        return first_lines(error)
    group, _, option = error.missing_cfg_file.rpartition("/")
    known = did_you_mean(option, error.options)
    hint = "" if own_folder or "Did you mean" in known else " Files of your own are found with --config-dir FOLDER."
    return f"'{group}' has no option '{option}'.{known}{hint}"


def _names_group(directory: Path, text: str) -> bool:
    key = text.split("=")[0].lstrip("+~").split("@")[0]
    return (directory / key).is_dir()


def _exists(config: DictConfig, key: str) -> bool:
    node: Any = config
    for part in key.split("."):
        if not OmegaConf.is_dict(node) or part not in node.keys():  # `in node` denies keys whose value is ???
            return False
        node = node._get_node(part)
    return True


def _suggest(config: DictConfig, key: str) -> str:
    leaves = sorted(_paths(config))
    same_name = [path for path in leaves if path.split(".")[-1] == key.split(".")[-1]]
    close = difflib.get_close_matches(key, same_name, n=1, cutoff=0.0) or difflib.get_close_matches(key, leaves, n=1)
    if close:
        return f" Did you mean '{close[0]}'?"
    parent, _, name = key.rpartition(".")
    siblings = OmegaConf.select(config, parent) if parent else config
    return did_you_mean(name, map(str, siblings)) if OmegaConf.is_dict(siblings) else did_you_mean(key, config)


def _paths(config: DictConfig, prefix: str = "") -> Iterator[str]:
    for key in config:
        path = f"{prefix}{key}"
        yield path
        node = config._get_node(key)
        if isinstance(node, DictConfig) and not node._is_missing() and not node._is_none():
            yield from _paths(node, path + ".")


def _merging(override: str) -> str:
    key, _, value = override.removeprefix("++").partition("=")
    return f"{key} is a section and can't become {value}: give it as a mapping, {key}={{NAME: VALUE}}."


def first_lines(error: Exception) -> str:
    """A library's message in one line, without what only its developers need."""
    lines = (line.strip() for line in str(error).splitlines())
    return " ".join(line for line in lines if line and not line.startswith(_NOISE))
