"""What parts may count on about each other's values, said before anything is computed."""

from __future__ import annotations

from collections.abc import Iterable

from eqff.parts import Part


def tell_bounds(parts: Iterable[Part]) -> None:
    """Tells every part how large the fields can become that some part bounds by its construction.

    Args:
        parts: All of a model.
    """
    parts = list(parts)
    bounds: dict[str, float] = {}
    for part in parts:
        bounds |= part.bounds
    for part in parts:
        part.heed_bounds(bounds)
