"""The structure of the model that is fine-tuned comes from its file: how that enters the composition of the config."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException

from eqff.command_line.overrides import is_setting
from eqff.errors import ConfigError

MODEL = "finetune.model"


def with_structure(argv: Sequence[str]) -> list[str]:
    """Arguments of the command line, with the structure of the model that ``finetune.model`` names, not the default.

    It goes before what the user says about the model, which therefore changes parts of it. With ``model=NAME`` among
    the arguments, the structure is the user's, and only weights come from the file. ``finetune=full`` is understood.

    Args:
        argv: As given.

    Raises:
        ConfigError: The backbone is chosen anew, but the rest is to come from the file.
        ModelFileError: The model can't be read.
    """
    path = _value(argv, MODEL)
    if path is None:
        return list(argv)
    options = [text for text in argv if not is_setting(text)]  # which Hydra takes before all settings only
    chosen = [text for text in argv if is_setting(text)]
    if not any(text.startswith("finetune=") for text in chosen):
        chosen.insert(0, "finetune=full")
    if any(text.startswith("model=") for text in chosen):
        return [*options, *chosen]
    if any(text.startswith("model/") for text in argv):
        raise ConfigError(
            "The structure of a model that is fine-tuned comes from its file, and another backbone has no use for its "
            "weights. For a structure of your own give model=NAME too; weights that fit are taken over."
        )
    from eqff.checkpoints.model_file import read_metadata  # imports torch, which --help doesn't wait for
    from eqff.registry.locate import locate

    config = read_metadata(locate(path).path).model_config
    return [*options, "~model", f"++model={written(config)}", *chosen]


def written(value: Any) -> str:
    """A value of a config in Hydra's grammar."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{written(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(written(entry) for entry in value) + "]"
    if isinstance(value, str):
        # a backslash is only special where it comes before a quote
        return "'" + re.sub(r"(\\*)('|$)", lambda m: 2 * m[1] + ("\\'" if m[2] else ""), value) + "'"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value)


def _value(argv: Sequence[str], key: str) -> str | None:
    """What the last override of a key sets it to."""
    texts = [text for text in argv if text.lstrip("+").startswith(f"{key}=")]
    if not texts:
        return None
    try:
        value = OverridesParser.create().parse_override(texts[-1]).value()
    except OverrideParseException as error:
        raise ConfigError(f"'{texts[-1]}' can't be read as KEY=VALUE: {error}") from error
    return None if value is None else str(value)
