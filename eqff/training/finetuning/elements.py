"""Which known element a new one begins as: the nearest in the periodic table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

_NOBLE = (0, 2, 10, 18, 36, 54, 86, 118)
"""Atomic numbers that end periods."""
_SHELLS = {2: "s", 8: "sp", 18: "sdp", 32: "sfdp"}
"""Blocks of a period, by its length, in their order."""
_WIDTHS = {"s": 2, "f": 14, "d": 10, "p": 6}


class Place(NamedTuple):
    """Of an element in the periodic table.

    Attributes:
        block: "main" (s and p), "d" or "f".
        period: From 1.
        group: 1 to 18; 3 throughout the f block.
    """

    block: str
    period: int
    group: int


def place_of(number: int) -> Place:
    """Where an element stands; helium in group 18, and d blocks end with zinc's group."""
    period = next(p for p in range(1, len(_NOBLE)) if number <= _NOBLE[p])
    position, shells = number - _NOBLE[period - 1], _SHELLS[_NOBLE[period] - _NOBLE[period - 1]]
    if number == 2:
        return Place("main", 1, 18)
    for shell in shells:
        if position <= _WIDTHS[shell]:
            break
        position -= _WIDTHS[shell]
    group = {"s": position, "f": 3, "d": 2 + position, "p": 12 + position}[shell]
    return Place("main" if shell in "sp" else shell, period, group)


def nearest_known(elements: Sequence[int], known: Sequence[int]) -> dict[int, int]:
    """For each element the known one that it is most alike; known ones are their own.

    Elements of the same block come first; then those for which the steps along the period and down the group are
    fewest, along the period first: valence decides on bonds more than size does. Main-group elements are counted
    without the ten groups between beryllium's and boron's.

    Args:
        elements: Atomic numbers.
        known: Those to choose from, at least one.
    """
    return {z: z if z in known else min(known, key=lambda other: _distance(z, other)) for z in elements}


def _distance(first: int, second: int) -> tuple[bool, int, int, int]:
    a, b = place_of(first), place_of(second)
    within_main = a.block == b.block == "main"
    columns = [place.group - 10 if within_main and place.group > 2 else place.group for place in (a, b)]
    along, down = abs(columns[0] - columns[1]), abs(a.period - b.period)
    return a.block != b.block, along + down, along, abs(first - second)
