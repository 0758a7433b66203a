"""What annotations ask for, in words: ``Annotated[float, Gt(0)] | None`` asks for "a number above 0, or null"."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types


def describe(hint: Any) -> str:
    """What an annotation asks for, in words; "" for what a config can't express.

    Returns:
        For example ``"a number above 0, or null"`` for ``Annotated[float, Gt(0)] | None``.
    """
    origin = get_origin(hint)
    if origin in _COMPOSED:
        return _COMPOSED[origin](get_args(hint))
    return _PLAIN.get(hint, "")


def _union(arguments: tuple[Any, ...]) -> str:
    words = [describe(argument) for argument in arguments]
    if str in arguments:  # a path is written as text
        words = [word for word, argument in zip(words, arguments, strict=True) if argument is not Path]
    words = list(dict.fromkeys(word for word in words if word))
    return ", or ".join(words)


def _ranged(arguments: tuple[Any, ...]) -> str:
    words = [f"{word} {getattr(bound, name):g}" for bound in _bounds(arguments[1:]) for name, word in _bound(bound)]
    return " ".join([describe(arguments[0]), " and ".join(words)]).strip()


def _bounds(metadata: Iterable[Any]) -> list[Any]:
    """Single bounds, those of intervals taken apart."""
    found: list[Any] = []
    for item in metadata:
        found += list(item) if isinstance(item, annotated_types.GroupedMetadata) else [item]
    return found


def _bound(item: Any) -> list[tuple[str, str]]:
    return [(name, word) for kind, name, word in _BOUNDS if isinstance(item, kind)]


def _fixed(arguments: tuple[Any, ...]) -> str:
    words = [f"'{argument}'" if isinstance(argument, str) else str(argument) for argument in arguments]
    return words[0] if len(words) == 1 else "one of " + ", ".join(words)


def _sequence(arguments: tuple[Any, ...]) -> str:
    return f"a list, each {describe(arguments[0])}" if arguments and describe(arguments[0]) else "a list"


def _tuple(arguments: tuple[Any, ...]) -> str:
    if Ellipsis in arguments:
        return _sequence(arguments)
    return f"a list of {len(arguments)}: " + "; ".join(describe(argument) for argument in arguments)


def _mapping(arguments: tuple[Any, ...]) -> str:
    return f"a mapping of names to {describe(arguments[1])}" if arguments and describe(arguments[1]) else "a mapping"


_PLAIN: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    Path: "a path",
    list: "a list",
    dict: "a mapping",
    type(None): "null",
    None: "null",
}
_COMPOSED: dict[Any, Callable[[tuple[Any, ...]], str]] = {
    Union: _union,
    types.UnionType: _union,
    Annotated: _ranged,
    Literal: _fixed,
    list: _sequence,
    Sequence: _sequence,
    tuple: _tuple,
    dict: _mapping,
    Mapping: _mapping,
}
_BOUNDS = (
    (annotated_types.Gt, "gt", "above"),
    (annotated_types.Ge, "ge", "of at least"),
    (annotated_types.Lt, "lt", "below"),
    (annotated_types.Le, "le", "of at most"),
)


def choices(hint: Any) -> list[str]:
    """The words that an annotation lets choose from."""
    options = (hint, *get_args(hint))
    return [str(word) for option in options if get_origin(option) is Literal for word in get_args(option)]
