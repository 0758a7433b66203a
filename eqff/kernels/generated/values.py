"""Values on a tape that add and multiply like numbers, so that a formula for tensors writes its own tape."""

from __future__ import annotations

from dataclasses import dataclass

from eqff.kernels.generated.tape import Tape


@dataclass(frozen=True)
class Value:
    """A value on a tape.

    Attributes:
        tape: Where it is.
        place: Its place there; None is zero.
    """

    tape: Tape
    place: int | None

    def __add__(self, other: Value | float) -> Value:
        if not isinstance(other, Value):
            return self._only_zero(other)
        return Value(self.tape, self.tape.combination([(1.0, self.place), (1.0, other.place)]))

    def __radd__(self, other: float) -> Value:
        return self._only_zero(other)

    def __sub__(self, other: Value) -> Value:
        return Value(self.tape, self.tape.combination([(1.0, self.place), (-1.0, other.place)]))

    def __neg__(self) -> Value:
        return self * -1.0

    def __mul__(self, other: Value | float) -> Value:
        if isinstance(other, Value):
            return Value(self.tape, self.tape.product(self.place, other.place))
        return Value(self.tape, self.tape.combination([(float(other), self.place)]))

    def __rmul__(self, other: float) -> Value:
        return self * other

    def _only_zero(self, other: float) -> Value:
        if other != 0:
            raise ValueError(f"Polynomials on tapes have no constant terms, but {other} is added.")
        return self


def values(tape: Tape, array: str, count: int) -> list[Value]:
    """The components of an array that is read."""
    return [Value(tape, place) for place in tape.inputs(array, count)]
