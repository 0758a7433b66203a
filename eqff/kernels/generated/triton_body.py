"""The lines of a Triton kernel that compute values on a tape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from eqff.kernels.generated.tape import Combination, Input, Product, Tape


class Body:
    """Lines for some values, depth first: each step stands right before the first that needs it.

    A product that is needed once is a term of the sum that needs it, in one rounding. A sum is one line a term: Python
    takes no parentheses 200 deep.

    Args:
        tape: What is computed.
        values: All that will be asked for.
    """

    def __init__(self, tape: Tape, values: Sequence[int | None]):
        self._tape = tape
        self.inputs: dict[int, Input] = {}
        self.lines: list[str] = []
        wanted = [value for value in values if value is not None]
        self._uses = Counter(wanted)
        for place in tape.needed(wanted):
            self._uses.update(tape.operands(place))
        self._done: set[int] = set()

    def value(self, place: int) -> str:
        """The name of a value: of one of ``inputs``, in the order of first need, or computed in ``lines``."""
        if place not in self._done:
            self._done.add(place)
            match self._tape.steps[place]:
                case Input() as step:
                    self.inputs[place] = step
                case Product(left, right):
                    self.lines.append(f"v{place} = {self.value(left)} * {self.value(right)}")
                case Combination(terms):
                    for n, (factor, value) in enumerate(terms):
                        self.lines.append(f"v{place} = {self._sum(place if n else None, factor, value)}")
        return f"v{place}"

    def _sum(self, before: int | None, factor: float, value: int) -> str:
        """The sum so far and one term more."""
        match self._tape.steps[value]:
            case Product(left, right) if factor == 1.0 and self._uses[value] == 1 and before is not None:
                return f"tl.fma({self.value(left)}, {self.value(right)}, v{before})"
        term = self.value(value) if factor == 1.0 else f"{factor!r} * {self.value(value)}"
        return term if before is None else f"v{before} + {term}"
