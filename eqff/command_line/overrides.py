"""The command line: options and overrides of the config, as users write them and as Hydra reads them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException, HydraException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from eqff.command_line.override_errors import check_group_syntax, explain, first_lines, names_group
from eqff.errors import ConfigError

HYDRA_VERSION_BASE = "1.3"

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
        check_group_syntax(directory, text)
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
            raise ConfigError(explain(directory, arguments.config_name or config_name, overrides, error)) from error
        except (ValueError, OmegaConfBaseException) as error:
            given = " ".join(text for text in overrides if names_group(directory, text)) or "The command line"
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
