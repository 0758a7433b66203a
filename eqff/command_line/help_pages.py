"""What ``--help`` and ``--help GROUP`` print: the config files, whose comments say what each setting means."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf

from eqff.errors import ConfigError, did_you_mean

_USAGE = {
    "head": "+head@model.heads.NAME=OPTION    NAME is yours; ~model.heads.NAME takes one away",
    "term": "+term@model.terms.NAME=OPTION    NAME is yours; ~model.terms.NAME takes one away",
    "exchange": "+exchange@model.exchanges.NAME=OPTION    NAME is yours; ~model.exchanges.NAME takes one away",
    "fragments": "+fragments@model.fragments=OPTION",
}
"""How an option of a group is chosen, where it isn't GROUP=OPTION."""

_HIDDEN = ("commands", "hydra")
_BEGINS = re.compile(r"^(\w+):")


def help_page(directory: Path, config_name: str, topics: Sequence[str] = ()) -> str:
    """The text that ``--help`` prints.

    Args:
        directory: Of the primary config and its groups.
        config_name: Of the primary config.
        topics: Groups or sections to explain; without any, the command as a whole.

    Raises:
        ConfigError: There is no such group or section.
    """
    pages = [_topic(directory, config_name, topic) for topic in topics]
    return "\n".join(pages or [_overview(directory, config_name)])


def groups(directory: Path) -> dict[str, list[str]]:
    """Options by group, both by name; groups inside of groups are called ``outer/inner``."""
    found: dict[str, list[str]] = {}
    for path in sorted(directory.rglob("*.yaml")):
        group = path.parent.relative_to(directory).as_posix()
        if group != "." and group.split("/")[0] not in _HIDDEN:
            found.setdefault(group, []).append(path.stem)
    return dict(sorted(found.items()))


def _overview(directory: Path, config_name: str) -> str:
    primary = directory / f"{config_name}.yaml"
    texts = OmegaConf.load(primary).hydra.help
    options = groups(directory)
    width = max(map(len, options), default=0)
    listed = [f"  {group:{width}}  {', '.join(names)}" for group, names in options.items()]
    blocks = _blocks(primary.read_text(encoding="utf-8"))
    settings = [text for name, text in blocks.items() if name not in ("defaults", "hydra")]
    parts = [
        texts.header.rstrip(),
        "\n".join(["Groups (choose with GROUP=OPTION; --help GROUP explains one):", *listed]) if listed else "",
        "\n".join(["Settings and their defaults:", *(_indent(text) for text in settings)]),
        texts.footer.rstrip(),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _topic(directory: Path, config_name: str, topic: str) -> str:
    options = groups(directory)
    names = (topic, topic.replace(".", "/"), topic.split(".")[-1])
    group = next((name for name in names if name in options), None)
    if group:
        return _group_page(directory, group, options[group])
    blocks = _blocks((directory / f"{config_name}.yaml").read_text(encoding="utf-8"))
    if topic in blocks:
        return blocks[topic] + "\n"
    known = [*options, *(name for name in blocks if name not in ("defaults", "hydra"))]
    raise ConfigError(f"There is no help on '{topic}'.{did_you_mean(topic, known)}")


def _group_page(directory: Path, group: str, options: Sequence[str]) -> str:
    lines = [f"{group}: choose with {_USAGE.get(group, f'{group}=OPTION')}", ""]
    for option in options:
        text = (directory / group / f"{option}.yaml").read_text(encoding="utf-8")
        lines += [option, _indent(text.replace("# @package _global_\n", "").strip()), ""]
    inner = sorted(name.relative_to(directory).as_posix() for name in (directory / group).iterdir() if name.is_dir())
    return "\n".join([*lines, *(f"Its part {name} has options of its own: --help {name}" for name in inner)]) + "\n"


def _blocks(text: str) -> dict[str, str]:
    """The text of each top-level key of a YAML file, with its comments."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in text.splitlines():
        begins = _BEGINS.match(line)
        if begins:
            name = begins.group(1)
            found[name] = []
        if name and (line.strip() or name == "hydra"):
            found[name].append(line)
    return {key: "\n".join(lines) for key, lines in found.items()}


def _indent(text: str) -> str:
    return "\n".join(f"  {line}".rstrip() for line in text.splitlines())
