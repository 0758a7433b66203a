"""Polynomials as tapes of products and linear combinations, which are differentiated into tapes again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Input:
    """A component of an array that is read."""

    array: str
    component: int


@dataclass(frozen=True)
class Product:
    """Of two values, by their places on the tape."""

    left: int
    right: int


@dataclass(frozen=True)
class Combination:
    """Σ factor × value."""

    terms: tuple[tuple[float, int], ...]


Step = Input | Product | Combination


class Tape:
    """Steps that each need only earlier ones; what is computed already is found instead of computed again.

    A value is its place on the tape; None is zero.
    """

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._known: dict[Step, int] = {}

    def inputs(self, array: str, count: int) -> list[int | None]:
        """The components of an array."""
        return [self._place(Input(array, component)) for component in range(count)]

    def product(self, left: int | None, right: int | None) -> int | None:
        """Of two values."""
        if left is None or right is None:
            return None
        return self._place(Product(min(left, right), max(left, right)))

    def combination(self, terms: Iterable[tuple[float, int | None]]) -> int | None:
        """A sum of values with factors; equal values are put together."""
        summed: dict[int, float] = {}
        for factor, value in terms:
            if value is not None:
                summed[value] = summed.get(value, 0.0) + factor
        kept = tuple((factor, value) for value, factor in sorted(summed.items()) if factor)
        if not kept:
            return None
        if len(kept) == 1 and kept[0][0] == 1.0:
            return kept[0][1]
        return self._place(Combination(kept))

    def _place(self, step: Step) -> int:
        if step not in self._known:
            self._known[step] = len(self.steps)
            self.steps.append(step)
        return self._known[step]

    def gradients(
        self, seeds: Iterable[tuple[int | None, int | None]], wanted: Sequence[int | None]
    ) -> list[int | None]:
        """Derivatives of Σ seed · value by other values, in reverse mode, as further steps.

        Args:
            seeds: Pairs of a value and what it is multiplied with; the latter counts as constant.
            wanted: By what to differentiate.
        """
        adjoints: dict[int, list[tuple[float, int]]] = {}
        for value, seed in seeds:
            if value is not None and seed is not None:
                adjoints.setdefault(value, []).append((1.0, seed))
        found: dict[int, int | None] = {}
        for place in range(max(adjoints, default=-1), -1, -1):
            if place not in adjoints:
                continue
            adjoint = found[place] = self.combination(adjoints[place])
            if adjoint is None:
                continue
            for factor, value, other in _arguments(self.steps[place]):
                share = adjoint if other is None else self.product(adjoint, other)
                adjoints.setdefault(value, []).append((factor, share))
        return [None if value is None else found.get(value) for value in wanted]

    def operands(self, place: int) -> list[int]:
        """The values that a step reads."""
        return [value for _, value, _ in _arguments(self.steps[place])]

    def needed(self, values: Iterable[int | None]) -> list[int]:
        """The places of all steps on which values depend, and of these, in order."""
        marked = {value for value in values if value is not None}
        for place in range(max(marked, default=-1), -1, -1):
            if place in marked:
                marked.update(self.operands(place))
        return sorted(marked)

    def evaluate(self, arrays: Mapping[str, Sequence[float]], values: Sequence[int | None]) -> list[float]:
        """Numbers for values, from numbers for the arrays' components: what the machine code is held against."""
        numbers: dict[int, float] = {}
        for place in self.needed(values):
            step = self.steps[place]
            if isinstance(step, Input):
                numbers[place] = arrays[step.array][step.component]
            elif isinstance(step, Product):
                numbers[place] = numbers[step.left] * numbers[step.right]
            else:
                numbers[place] = sum(factor * numbers[value] for factor, value in step.terms)
        return [0.0 if value is None else numbers[value] for value in values]


def _arguments(step: Step) -> list[tuple[float, int, int | None]]:
    """The partial derivatives of a step: factor, by which value, and the value that multiplies it."""
    if isinstance(step, Product):
        return [(1.0, step.left, step.right), (1.0, step.right, step.left)]
    if isinstance(step, Combination):
        return [(factor, value, None) for factor, value in step.terms]
    return []
