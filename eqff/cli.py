"""What the commands share: reading the config, and errors as one message without a traceback."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from eqff.config import config_directory
from eqff.errors import ConfigError, EqffError, did_you_mean

HYDRA_VERSION_BASE = "1.3"

OPEN_MAPPINGS = ("data.keys", "data.units", "data.test", "training.optimizer.groups")
"""Settings whose keys are names that users choose, so that new ones need no plus sign."""


def run_command(
    task: Callable[[DictConfig], Any], config_name: str, argv: Sequence[str] | None = None, folder: str = ""
) -> None:
    """Runs a command: composes its config from the command line and hands it to ``task``.

    An `EqffError`, a wrong override or a missing value ends the process with exit code 1 and one message on stderr.
    Anything else is a bug and keeps its traceback, as everything does with ``HYDRA_FULL_ERROR=1``.

    Args:
        task: Gets the composed config.
        config_name: Of the primary config, without suffix.
        argv: Arguments; by default those of the process.
        folder: In `eqff.config.config_directory`, of the primary config and the groups it can choose from; a command
            can't have a plain setting with the name of a group beside its config.
    """
    directory = config_directory() / folder
    argv = [open_mapping_override(text) for text in (sys.argv[1:] if argv is None else argv)]
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        _hydra_main(task, directory, config_name, argv)
        return
    try:
        check_command_line(directory, config_name, argv)
        _hydra_main(lambda cfg: _task_without_traceback(task, cfg), directory, config_name, argv)
    except EqffError as error:
        _leave(str(error))


def open_mapping_override(text: str) -> str:
    """An argument of the command line, with the prefix by which Hydra adds keys if it is about an open mapping."""
    key = text.split("=")[0]
    is_open = any(key == name or key.startswith(f"{name}.") for name in OPEN_MAPPINGS)
    return f"++{text}" if is_open and "=" in text else text


def check_command_line(directory: Path, config_name: str, argv: Sequence[str]) -> None:
    """Composes the config in a directory once, so that a wrong override is explained before anything starts.

    Raises:
        ConfigError: An override names no setting or no option of a group; the message suggests the nearest one.
    """
    arguments = get_args_parser().parse_args(list(argv))
    if arguments.multirun or arguments.hydra_help or arguments.shell_completion:
        return  # sweeps are lists of values, which only the sweeper understands
    overrides = list(arguments.overrides)
    if arguments.config_dir:
        overrides.append(f"hydra.searchpath=[file://{Path(arguments.config_dir).resolve()}]")
    with hydra.initialize_config_dir(version_base=HYDRA_VERSION_BASE, config_dir=str(directory)):
        try:
            hydra.compose(arguments.config_name or config_name, overrides=overrides)
        except OverrideParseException as error:
            raise ConfigError(f"'{error.override}' is not KEY=VALUE as Hydra reads it: {error.message}") from error
        except (ConfigCompositionException, HydraException) as error:
            raise ConfigError(_explain(directory, arguments.config_name or config_name, overrides, error)) from error


def _explain(directory: Path, config_name: str, overrides: Sequence[str], error: Exception) -> str:
    """The message for overrides that don't compose: the first key that doesn't exist, and the nearest that does."""
    groups = [text for text in overrides if _names_group(directory, text)]
    try:
        known = hydra.compose(config_name, overrides=groups)
    except MissingConfigException as error:
        return _explain_option(error)
    except HydraException as error:
        return _first_lines(error)
    for override in OverridesParser.create().parse_overrides([text for text in overrides if text not in groups]):
        key = override.key_or_group
        if override.is_add() or key.startswith("hydra"):
            continue
        if not _exists(known, key):
            return f"There is no setting '{key}'.{_suggest(known, key)} To add a new key on purpose, write +{key}=..."
    return _first_lines(error)


def _explain_option(error: MissingConfigException) -> str:
    """The message for an option that a group doesn't have."""
    if not error.options or not error.missing_cfg_file:
        return _first_lines(error)
    group, _, option = error.missing_cfg_file.rpartition("/")
    return f"'{group}' has no option '{option}'.{did_you_mean(option, error.options)}"


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


def _first_lines(error: Exception) -> str:
    return " ".join(line.strip() for line in str(error).splitlines() if line.strip())


def _hydra_main(task: Callable[[DictConfig], Any], directory: Path, config_name: str, argv: Sequence[str]) -> None:
    sys.argv = [sys.argv[0], *argv]  # the only way in which Hydra takes them
    hydra.main(version_base=HYDRA_VERSION_BASE, config_path=str(directory), config_name=config_name)(task)()


def _task_without_traceback(task: Callable[[DictConfig], Any], cfg: DictConfig) -> Any:
    try:
        return task(cfg)
    except EqffError as error:
        return _leave(str(error))
    except MissingMandatoryValue as error:
        return _leave(f"{error.full_key} is missing: give it as {error.full_key}=...")
    except OmegaConfBaseException as error:
        return _leave(_first_lines(error))
    except KeyboardInterrupt:
        return _leave("Stopped.", code=130)


def _leave(message: str, code: int = 1) -> None:
    print(f"eqff: {message}", file=sys.stderr, flush=True)
    sys.exit(code)
