"""Values of a config against the annotated signature that they are meant for: names, types and ranges.

A signature is a dataclass of settings, the constructor of a part, or a function; so a new part is checked by what it
declares, and nothing has to be registered. Types and ranges are checked by pydantic, strictly: no text where a number
is needed, no fraction where a whole number is. Messages are eqff's own and name the full key.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from eqff.annotations import choices, describe
from eqff.errors import ConfigError, did_you_mean

_STRICT = ConfigDict(strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)
_SHOWN = 80  # characters of a wrong value


def check_arguments(
    signature: Callable[..., Any],
    values: Mapping[str, Any],
    place: str,
    *,
    offered: Collection[str] = (),
    known: Sequence[str] | None = None,
) -> None:
    """Checks that values from a config are arguments of a class or function.

    Args:
        signature: What will be called with them.
        values: By name, as plain values.
        place: Where they stand in the config, for messages; "" for its top level.
        offered: Arguments that the caller gives if the config doesn't.
        known: The only arguments that a config may give; by default all.

    Raises:
        ConfigError: An unknown or missing name, a wrong type, or a number out of its range.
    """
    parameters, hints = parameters_of(signature)
    names = list(parameters) if known is None else list(known)
    if not isinstance(values, Mapping):
        raise ConfigError(f"{place} is {_shown(values)}, but is a section with these settings: {', '.join(names)}.")
    for name in values:
        if name not in names:
            raise ConfigError(f"{_join(place, name)} is not a setting.{did_you_mean(str(name), names)}")
    for name in names:
        if name in values:
            check_value(values[name], hints.get(name, Any), _join(place, name))
        elif parameters[name].default is inspect.Parameter.empty and name not in offered:
            needed = describe(hints.get(name, Any))
            raise ConfigError(f"{_join(place, name)} is missing: give {needed or 'a value'}.")


def parameters_of(signature: Callable[..., Any]) -> tuple[dict[str, inspect.Parameter], dict[str, Any]]:
    """The parameters by name, and their annotations.

    A constructor with ``**settings`` takes those of the class that it is derived from too, so that what several parts
    share is written down once.
    """
    parameters, hints = dict(inspect.signature(signature).parameters), _hints(signature)
    if not inspect.isclass(signature):
        return parameters, hints
    for base in [kind for kind in signature.__mro__[:-1] if "__init__" in vars(kind)][1:]:
        rest = [name for name, parameter in parameters.items() if parameter.kind is inspect.Parameter.VAR_KEYWORD]
        if not rest:
            break
        del parameters[rest[0]]
        hints = _hints(base) | hints
        parameters = dict(inspect.signature(base).parameters) | parameters
    return parameters, hints


def check_value(value: Any, hint: Any, key: str) -> None:
    """Checks one value against an annotation.

    Raises:
        ConfigError: It doesn't fit; the message says what would.
    """
    try:
        TypeAdapter(hint, config=_STRICT).validate_python(_as_tuple(value, hint))
    except ValidationError as error:
        close = difflib.get_close_matches(str(value), choices(hint), n=1)
        hint_text = f" Did you mean '{close[0]}'?" if close else ""
        raise ConfigError(f"{key} is {_shown(value)}, but must be {describe(hint)}.{hint_text}") from error


def _hints(signature: Callable[..., Any]) -> dict[str, Any]:
    """Annotations by parameter; none where they name what only type checkers import."""
    is_constructor = inspect.isclass(signature) and not is_dataclass(signature)
    try:
        return get_type_hints(signature.__init__ if is_constructor else signature, include_extras=True)
    except NameError:
        return {}


def _as_tuple(value: Any, hint: Any) -> Any:
    """Lists as tuples where one is asked for: configs have no tuples."""
    wants_tuple = tuple in (get_origin(hint), *(get_origin(option) for option in get_args(hint)))
    return tuple(value) if wants_tuple and isinstance(value, list) else value


def _join(place: str, name: object) -> str:
    return f"{place}.{name}" if place else str(name)


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
