"""Whether parts fit together: each field that one reads, another has written before."""

from __future__ import annotations

from collections.abc import Mapping

from eqff.data import fields as table
from eqff.errors import ModelError
from eqff.parts import Exchange, Part, Term


def check_fields(parts: Mapping[str, Part]) -> None:
    """Checks that every field read is written before it is read, and that no two parts write the same one.

    Args:
        parts: By name, in the order in which they run.

    Raises:
        ModelError: Names the part, the field, and the part that would provide it if there is one; or both parts that
            write a field.
    """
    available = set(table.names("input"))
    writers: dict[str, str] = {}
    for place, part in parts.items():
        for name in part.reads:
            if name in available:
                continue
            later = [other for other, candidate in parts.items() if name in candidate.writes]
            if later:
                mend = f"'{later[0]}' writes it, but runs later: put it first."
            else:
                from eqff.providers import remedy  # looks through configs, which a model that fits together needs not

                mend = f"No part writes it. {remedy(name)}"
            raise ModelError(f"'{place}' reads the field '{name}', which nothing before it provides. {mend}")
        for name in part.writes:
            if name in writers:
                raise ModelError(
                    f"'{place}' and '{writers[name]}' both write the field '{name}', so one would hide the other. "
                    "Leave one of them out (set it to null)."
                )
            writers[name] = place
        available |= set(part.writes) | {f"pass_{name}" for name in part.writes if isinstance(part, Exchange)}
        if isinstance(part, Term):
            available.add(f"energy_{place.partition('.')[2]}")
