"""Products of functions on the sphere as polynomials of their components, with first and second derivatives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from eqff.kernels.generated.tape import Tape

Components = Sequence[int | None]


@dataclass(frozen=True)
class Function:
    """What one call computes; a target's `program` writes it as source.

    Attributes:
        name: Of the function.
        reads: Names of the arrays that are read, those of one tensor side by side: u0, u1, ..., s, g0, ...
        writes: The values of each array's components.
    """

    name: str
    reads: tuple[str, ...]
    writes: Mapping[str, Components]


class Polynomial:
    """Arrays of factors and a scale in, arrays of values out, and the derivatives of <given, values>.

    Args:
        tape: On which the values are.
        factors: Components of each array of factors, u0, u1, ...
        scale: Components of the array s.
        values: Components of each array of results, linear in s.
    """

    def __init__(self, tape: Tape, factors: Sequence[Components], scale: Components, values: Sequence[Components]):
        self.tape, self.values = tape, values
        self.inputs, self.outputs = len(factors[0]), len(values[0])
        self.parts_in, self.parts_out = len(factors), len(values)
        given = [tape.inputs(f"g{n}", self.outputs) for n in range(self.parts_out)]
        along = [tape.inputs(f"a{n}", self.inputs) for n in range(self.parts_in)]
        every, cotangents = _flat(factors), _flat(given)
        by = tape.gradients(zip(_flat(values), cotangents, strict=True), [*every, *scale])
        self.by_factors, self.by_scale = by[: len(every)], by[len(every) :]
        pairs = zip(self.by_factors, _flat(along), strict=True)
        self.twice = tape.gradients(pairs, [*every, *scale, *cotangents])

    @property
    def steps(self) -> int:
        """Of the longest function."""
        return len(self.tape.needed(self.twice))

    def functions(self) -> tuple[Function, ...]:
        """``forward``, ``backward``, ``backward_scale`` and ``twice``."""
        u, a = (tuple(f"{name}{n}" for n in range(self.parts_in)) for name in "ua")
        g = tuple(f"g{n}" for n in range(self.parts_out))
        by_factors, scale = _named(u, self.by_factors), {"s": self.by_scale}
        ends = len(self.by_factors), len(self.by_factors) + len(self.by_scale)
        second = (self.twice[: ends[0]], self.twice[ends[0] : ends[1]], self.twice[ends[1] :])
        twice = _named(u, second[0]) | {"s": second[1]} | _named(g, second[2])
        return (
            Function("forward", (*u, "s"), dict(zip(g, self.values, strict=True))),
            Function("backward", (*u, "s", *g), by_factors),
            Function("backward_scale", (*u, "s", *g), by_factors | scale),
            Function("twice", (*u, "s", *g, *a), twice),
        )


def mixed(first: Tensor, second: Tensor, order: int) -> Polynomial:
    """[u, t (, p)] · scale with t_k = Σ first_kij u_i v_j and p_k = Σ second_kij t_i w_j.

    Args:
        first: (middle, inputs, inputs).
        second: (outputs, middle, inputs).
        order: 2 or 3 factors.
    """
    tape, outputs = Tape(), second.shape[0]
    factors = [tape.inputs(f"u{n}", first.shape[1]) for n in range(order)]
    scale = tape.inputs("s", order)
    products = _products(tape, first, second, factors)
    values = [
        [tape.product(weight, value) for value in found[:outputs]]
        for weight, found in zip(scale, products, strict=True)
    ]
    return Polynomial(tape, factors, scale, values)


def symmetric(first: Tensor, second: Tensor, order: int) -> Polynomial:
    """Σ_ν scale_νl · P^ν(u) of one u, with P¹ = u, P² = t(u, u) and P³ = p(t, u); one scale for each degree l.

    Args:
        first: (middle, inputs, inputs).
        second: (outputs, middle, inputs).
        order: 2 or 3 factors.
    """
    tape, outputs = Tape(), second.shape[0]
    u = tape.inputs("u0", first.shape[1])
    degrees = round(outputs**0.5)
    scale = tape.inputs("s", order * degrees)
    powers = _products(tape, first, second, [u] * order)
    values = [
        tape.combination(
            (1.0, tape.product(scale[nu * degrees + int(k**0.5)], power[k])) for nu, power in enumerate(powers)
        )
        for k in range(outputs)
    ]
    return Polynomial(tape, [u], scale, [values])


def _products(tape: Tape, first: Tensor, second: Tensor, factors: Sequence[Components]) -> list[Components]:
    """u, t and, if there is a third factor, p."""
    found = [factors[0], _contracted(tape, first, *factors[:2])]
    return [*found, *(_contracted(tape, second, found[1], w) for w in factors[2:])]


def _contracted(tape: Tape, table: Tensor, left: Components, right: Components) -> Components:
    """Σ_ij t_kij x_i y_j for each k."""
    return [
        tape.combination((float(rows[i, j]), tape.product(left[i], right[j])) for i, j in rows.nonzero().tolist())
        for rows in table
    ]


def _flat(parts: Sequence[Components]) -> list[int | None]:
    return [value for part in parts for value in part]


def _named(names: Sequence[str], values: Components) -> dict[str, Components]:
    size = len(values) // len(names)
    return {name: values[n * size : (n + 1) * size] for n, name in enumerate(names)}
