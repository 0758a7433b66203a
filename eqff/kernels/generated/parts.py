"""Functions cut into parts that fit a processor's registers, and the order in which each part writes its results."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from eqff.kernels.generated.polynomials import Function
from eqff.kernels.generated.tape import Tape


@dataclass(frozen=True)
class Result:
    """A component of an array that is written.

    Attributes:
        array: Its name.
        component: Which.
        value: Its place on the tape; None is zero.
    """

    array: str
    component: int
    value: int | None


def parts(function: Function, tape: Tape, most: int) -> list[list[Result]]:
    """All results of a function: as few parts as need, of about one size, at most so many steps each.

    In a part, the next result is the one that needs fewest further steps: what was computed for one is used up soon.
    What two parts need is computed in both.

    Args:
        function: What is computed.
        tape: Where.
        most: Steps; a single result may need more.
    """
    results = [Result(name, n, value) for name, values in function.writes.items() for n, value in enumerate(values)]
    steps = _masks(tape, (result.value for result in results))
    count, enough, short = len(_cut(results, steps, most)), most, 0
    while enough - short > 1 + most // 16:  # smallest parts of that number: the last of full ones may be nearly empty
        limit = (enough + short) // 2
        if len(_cut(results, steps, limit)) == count:
            enough = limit
        else:
            short = limit
    return _cut(results, steps, enough)


def _masks(tape: Tape, values: Iterable[int | None]) -> dict[int | None, int]:
    """The steps that a value depends on as bits of a number."""
    masks: dict[int | None, int] = {None: 0}
    for place in tape.needed(values):
        masks[place] = 1 << place
        for value in tape.operands(place):
            masks[place] |= masks[value]
    return masks


def _cut(results: Sequence[Result], steps: dict[int | None, int], most: int) -> list[list[Result]]:
    rest, found = list(results), [[]]
    done = 0
    while rest:
        following = min(rest, key=lambda result: (steps[result.value] & ~done).bit_count())
        if found[-1] and (steps[following.value] | done).bit_count() > most:
            found.append([])
            done = 0
            continue
        rest.remove(following)
        found[-1].append(following)
        done |= steps[following.value]
    return found
