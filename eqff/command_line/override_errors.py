"""What is wrong with overrides that don't compose, in words that help."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf

from eqff.errors import ConfigError, did_you_mean

_MERGING = re.compile(r"Error merging override (.*)")
_NOISE = ("See https://", "full_key:", "object_type=", "reference_type=", "Error parsing override")


def check_group_syntax(directory: Path, text: str) -> None:
    """Refuses ``training.losses=energy``, which would replace a section by a word.

    Args:
        directory: Of the configs.
        text: An override.

    Raises:
        ConfigError: With what is meant.
    """
    key, _, value = text.lstrip("+~").partition("=")
    outer = key.rpartition(".")[0]
    if not outer or "@" in key:
        return
    kind = outer.split(".")[-1].removesuffix("s")
    choices = {key.replace(".", "/"): key.replace(".", "/"), kind: f"+{kind}@{key}"}
    for group, override in choices.items():
        if (directory / group / f"{value}.yaml").is_file():
            raise ConfigError(f"'{key}' is a section, not a word: choose the option '{value}' with {override}={value}")


def explain(directory: Path, config_name: str, overrides: Sequence[str], error: Exception) -> str:
    """The message for overrides that don't compose: the first key that doesn't exist, and the nearest that does."""
    groups = [text for text in overrides if names_group(directory, text)]
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


def names_group(directory: Path, text: str) -> bool:
    """Whether an override chooses an option of a group of configs."""
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
