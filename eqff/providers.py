"""Which of the parts that come with eqff write a field, for messages that say what to add."""

from __future__ import annotations

from omegaconf import OmegaConf

from eqff.build import GROUPS
from eqff.config import config_directory
from eqff.construct import locate


def providers(field: str) -> list[str]:
    """What to write on the command line for a part that gives a field.

    Returns:
        For example ``["+head@model.heads.charges=charges"]``; empty if no part that comes with eqff gives it.
    """
    found = []
    for section, base in GROUPS.items():
        kind = section.removesuffix("s")
        for file in sorted((config_directory() / kind).glob("*.yaml")):
            writes = getattr(locate(OmegaConf.load(file)["_target_"], base), "writes", ())
            if isinstance(writes, tuple) and field in writes:
                found.append(f"+{kind}@model.{section}.{file.stem}={file.stem}")
    return found


def remedy(field: str) -> str:
    """A sentence that names a part for a field."""
    options = providers(field)
    return f"Add a part that does: {' or '.join(options)}." if options else "Add a part that does."
