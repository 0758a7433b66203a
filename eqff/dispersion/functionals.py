"""Damping parameters: those published for a functional, or given one by one."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Literal

from eqff.dispersion.tables import functionals
from eqff.errors import ConfigError, did_you_mean

Method = Literal["d3_bj", "d3_zero", "d4"]

DEFAULTS: Mapping[Method, Mapping[str, float]] = {
    "d3_bj": {"s6": 1.0, "s9": 1.0, "alp": 14.0},
    "d3_zero": {"s6": 1.0, "s9": 1.0, "rs8": 1.0, "alp": 14.0},
    "d4": {"s6": 1.0, "s9": 1.0, "alp": 16.0},
}
"""What does not depend on the functional."""

FITTED: Mapping[Method, tuple[str, ...]] = {
    "d3_bj": ("s8", "a1", "a2"),
    "d3_zero": ("s8", "rs6"),
    "d4": ("s8", "a1", "a2"),
}
"""What every functional was fitted for."""


def damping_parameters(
    method: Method, functional: str | None, given: Mapping[str, float] | None = None
) -> dict[str, float]:
    """All parameters of a method, lengths in bohr as they are published.

    Args:
        method: Which form of damping.
        functional: As labels were computed, e.g. "pbe", "B3LYP", "wb97m"; capitals, "-", "_" and "," don't matter. None
            where all fitted parameters are given.
        given: Parameters by name, instead of the functional's.

    Raises:
        ConfigError: An unknown functional or parameter, or fitted parameters that nothing gives.
    """
    given = dict(given or {})
    names = (*DEFAULTS[method], *FITTED[method])
    for name in given:
        if name not in names:
            raise ConfigError(f"{method} has no parameter '{name}'.{did_you_mean(name, names)}")
    published = {} if functional is None else _published(method, functional)
    parameters = {**DEFAULTS[method], **published, **given}
    missing = [name for name in FITTED[method] if name not in parameters]
    if missing:
        raise ConfigError(
            f"{method} needs to know the functional of the labels (functional: pbe, for example), or its parameters "
            f"one by one: {', '.join(missing)} missing."
        )
    return {name: float(parameters[name]) for name in names}


def _published(method: Method, functional: str) -> dict[str, float]:
    known = functionals()[method]
    plain = {_plain(name): name for name in known}
    name = _plain(functionals()["aliases"].get(functional.lower(), functional))
    if name not in plain:
        close = [plain[match] for match in get_close_matches(name, plain, n=3)]
        hint = f" Did you mean {' or '.join(close)}?" if close else ""
        raise ConfigError(
            f"{method} has no parameters for the functional '{functional}'.{hint} It has those of {len(known)}; for "
            "any other one, give them under 'parameters'."
        )
    entry = known[plain[name]]
    return {key: entry[key] for key in (*DEFAULTS[method], *FITTED[method]) if key in entry}


def _plain(name: str) -> str:
    """A name without what its spellings differ in."""
    return "".join(letter for letter in name.lower() if letter.isalnum())
