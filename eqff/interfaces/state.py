"""Total charge and multiplicity as a structure states them, and the message where it doesn't."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from eqff.data import fields as table
from eqff.data.external import NAMES
from eqff.data.keys import DERIVED, recognise
from eqff.errors import DataError

STATE = ("total_charge", "multiplicity")
"""What a structure has to state besides elements and positions: e, and 2S+1."""

_MEANING = {
    "total_charge": "total charge is nowhere given",
    "multiplicity": "multiplicity (2S+1) is nowhere given",
}


def stated(info: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a structure's ``info`` that are about charge and spin, under the keys they have there."""
    return {key: value for key, value in info.items() if _target(key) in STATE}


def surroundings(info: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a structure's ``info`` that state optional inputs, as external charges, by their keys."""
    return {key: value for key, value in info.items() if _target(key) in table.optional_inputs()}


def stated_field(info: Mapping[str, Any]) -> dict[str, Any]:
    """The entries among them that state a uniform external field."""
    return {key: value for key, value in info.items() if _target(key) == "electric_field"}


def stated_charges(info: Mapping[str, Any]) -> dict[str, Any]:
    """The entries among them that state external charges, without their places."""
    return {key: value for key, value in info.items() if _target(key) == "external_charges"}


@cache
def is_input(key: object) -> bool:
    """Whether an entry of a structure's ``info`` is read at all, by its key."""
    return _target(key) in (*STATE, *table.optional_inputs())


def is_external(key: object) -> bool:
    """Whether an entry of ``info`` states external charges, by its key."""
    return _target(key) in NAMES


def require_state(keys: Iterable[str], total_charge: object, multiplicity: object, place: str, remedy: str) -> None:
    """Checks that charge and multiplicity are given, by the structure or beside it.

    Args:
        keys: What the structure states, by its own keys or by field.
        total_charge: What is given beside it; None for nothing.
        multiplicity: The same.
        place: The structure, for the message.
        remedy: How to give both, ending without a full stop.

    Raises:
        DataError: One of them is nowhere given; it is not guessed.
    """
    keys = tuple(keys)
    targets = {_target(key) for key in keys}
    for name, given in zip(STATE, (total_charge, multiplicity), strict=True):
        if given is None and name not in targets:
            found = f"it states only {', '.join(keys)}" if keys else "it states neither"
            raise DataError(
                f"The {_MEANING[name]} for {place} ({found}), and eqff does not guess it. {remedy} (with the "
                "structure's own numbers; multiplicity='lowest' takes the lowest that the electrons allow)."
            )


@cache
def _target(key: object) -> str | None:
    found = recognise(key, "structure") if isinstance(key, str) else None  # other keys are the user's own
    return None if found is None else DERIVED.get(found, found)
