"""Sums over pairs of multipoles as single operations of the CPU, with first and second derivatives.

Each is a polynomial in the moments of both atoms, in the vector between them and in the radial functions. The formulas
are those of `eqff.longrange.multipoles.pairs`: given values on a tape instead of tensors, they write their own code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from eqff.kernels.choice import own_derivatives
from eqff.kernels.generated.pairs import At, PairCode
from eqff.kernels.generated.tape import Tape
from eqff.kernels.generated.values import values
from eqff.kernels.rules import plain_gradients

Formula = Callable[[tuple[Any, ...], tuple[Any, ...], tuple[Any, ...], tuple[Any, ...]], list[list[Any]]]
"""From the moments of the first and the second atom, the vector and the chain to results, by component: one list for
results of pairs, two for what is added up at the first and at the second atom."""


class PairOperation:
    """One polynomial of pairs.

    Args:
        formula: Of one pair.
        plain: The whole in plain PyTorch: from rows (N, width), vectors (3, E), chain and indices of both atoms.
        width: Components of an atom's moments.
        count: Of the chain.
    """

    def __init__(self, formula: Formula, plain: Callable[..., Tensor], width: int, count: int):
        self.plain = plain
        tape = Tape()
        sizes = {"first": width, "second": width, "vector": 3} | {f"chain{n}": 1 for n in range(count)}
        inputs = {name: values(tape, name, size) for name, size in sizes.items()}
        chain = tuple(inputs[f"chain{n}"][0] for n in range(count))
        found = formula(tuple(inputs["first"]), tuple(inputs["second"]), tuple(inputs["vector"]), chain)
        results = {f"out{n}": [value.place for value in each] for n, each in enumerate(found)}
        given = {f"given{n}": len(each) for n, each in enumerate(found)}
        along = {f"along_{name}": size for name, size in sizes.items()}
        self._tape, self.sizes, self.given, self.along, self.results = tape, sizes, given, along, results
        self.summed, self.size = len(found) == 2, len(found[0])
        self._inputs = {name: [value.place for value in each] for name, each in inputs.items()}

    @cached_property
    def value(self) -> PairCode:
        """Reads moments, vector, chain."""
        return PairCode(self._tape, self.sizes, self.results)

    @cached_property
    def _first(self) -> dict[str, list[int | None]]:
        cotangents = [place for name, size in self.given.items() for place in self._tape.inputs(name, size)]
        wanted = [place for each in self._inputs.values() for place in each]
        seeds = zip((place for each in self.results.values() for place in each), cotangents, strict=True)
        return _split(self._tape.gradients(seeds, wanted), self.sizes)

    @cached_property
    def first(self) -> PairCode:
        """Reads moments, vector, chain, cotangents; writes derivatives by the first three."""
        writes = {f"by_{name}": each for name, each in self._first.items()}
        return PairCode(self._tape, self.sizes | self.given, writes)

    @cached_property
    def second(self) -> PairCode:
        """Reads those, and what `first` is multiplied with; writes derivatives by those."""
        tape, read = self._tape, self.sizes | self.given
        along = [place for name, size in self.along.items() for place in tape.inputs(name, size)]
        cotangents = {name: tape.inputs(name, size) for name, size in self.given.items()}
        seeds = zip((place for each in self._first.values() for place in each), along, strict=True)
        wanted = [place for each in (self._inputs | cotangents).values() for place in each]
        by = _split(tape.gradients(seeds, wanted), read)
        return PairCode(tape, read | self.along, {f"by_{name}": each for name, each in by.items()})

    def __call__(self, rows: Tensor, vectors: Tensor, chain: Sequence[Tensor], pair: tuple[Tensor, Tensor]) -> Tensor:
        """Differentiable to any order; results of pairs (E,), or of atoms (N, components)."""
        return _Value.apply(self, pair, rows.contiguous(), vectors.contiguous(), *(b.contiguous() for b in chain))


def _split(places: Sequence[int | None], sizes: dict[str, int]) -> dict[str, list[int | None]]:
    rest: Iterator[int | None] = iter(places)
    return {name: [next(rest) for _ in range(size)] for name, size in sizes.items()}


def _inputs_at(pair: tuple[Tensor, Tensor], rows: Tensor, others: Sequence[Tensor]) -> list[At]:
    """Moments of both atoms, vectors and chain."""
    return [At(rows, pair[0]), At(rows, pair[1]), *(At(other) for other in others)]


def _result_at(operation: PairOperation, pair: tuple[Tensor, Tensor], result: Tensor) -> list[At]:
    return [At(result, pair[0]), At(result, pair[1])] if operation.summed else [At(result)]


class _Value(torch.autograd.Function):
    """The operation; inputs are kept for the derivatives."""

    @staticmethod
    def forward(ctx: Any, operation: PairOperation, pair: tuple[Tensor, Tensor], *tensors: Tensor) -> Tensor:
        ctx.save_for_backward(*tensors)
        ctx.operation, ctx.pair = operation, pair
        rows, *others = tensors
        pairs = pair[0].shape[0]
        out = rows.new_zeros(rows.shape[0], operation.size) if operation.summed else rows.new_empty(pairs)
        operation.value(pairs, _inputs_at(pair, rows, others) + _result_at(operation, pair, out))
        return out

    @staticmethod
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:
        tensors, operation, pair = ctx.saved_tensors, ctx.operation, ctx.pair
        if not (own_derivatives(given) and operation.first.available()):
            return None, None, *plain_gradients(_plain(operation, pair), tensors, [given])
        return None, None, *_First.apply(operation, pair, given.contiguous(), *tensors)


class _First(torch.autograd.Function):
    """Derivatives of the inner product with ``given`` by rows, vectors and chain."""

    @staticmethod
    def forward(
        ctx: Any, operation: PairOperation, pair: tuple[Tensor, Tensor], given: Tensor, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.save_for_backward(given, *tensors)
        ctx.operation, ctx.pair = operation, pair
        rows, *others = tensors
        by = [torch.zeros_like(rows), *(torch.empty_like(other) for other in others)]
        read = _inputs_at(pair, rows, others) + _result_at(operation, pair, given)
        operation.first(pair[0].shape[0], read + _inputs_at(pair, by[0], by[1:]))
        return tuple(by)

    @staticmethod
    def backward(ctx: Any, *along: Tensor) -> tuple[Tensor | None, ...]:
        operation, pair = ctx.operation, ctx.pair
        if not (own_derivatives(*along) and operation.second.available()):
            return None, None, *plain_gradients(_plain_first(operation, pair), ctx.saved_tensors, along)
        return None, None, *_Second.apply(operation, pair, len(along), *along, *ctx.saved_tensors)


class _Second(torch.autograd.Function):
    """Derivatives of the inner product of `_First` with ``along`` by given, rows, vectors and chain."""

    @staticmethod
    def forward(
        ctx: Any, operation: PairOperation, pair: tuple[Tensor, Tensor], count: int, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.save_for_backward(*tensors)
        ctx.operation, ctx.pair, ctx.count = operation, pair, count
        along, given, rows, *others = *[tensors[:count]], *tensors[count:]
        along = [value.contiguous() for value in along]
        by = [(torch.zeros_like if operation.summed else torch.empty_like)(given), torch.zeros_like(rows)]
        by += [torch.empty_like(other) for other in others]
        read = _inputs_at(pair, rows, others) + _result_at(operation, pair, given)
        read += _inputs_at(pair, along[0], along[1:])
        written = _inputs_at(pair, by[1], by[2:]) + _result_at(operation, pair, by[0])
        operation.second(pair[0].shape[0], read + written)
        return tuple(by)

    @staticmethod
    def backward(ctx: Any, *along: Tensor) -> tuple[Tensor | None, ...]:
        count, tensors = ctx.count, ctx.saved_tensors
        plain = _plain_first(ctx.operation, ctx.pair)

        def second(*inputs: Tensor) -> Sequence[Tensor]:
            return _whole(plain_gradients(plain, inputs[count:], inputs[:count]), inputs[count:])

        return None, None, None, *plain_gradients(second, tensors, along)


def _plain(operation: PairOperation, pair: tuple[Tensor, Tensor]) -> Callable[..., Sequence[Tensor]]:
    return lambda rows, vectors, *chain: [operation.plain(rows, vectors, chain, pair)]


def _plain_first(operation: PairOperation, pair: tuple[Tensor, Tensor]) -> Callable[..., Sequence[Tensor]]:
    """From given and inputs to derivatives by the inputs."""

    def first(given: Tensor, *inputs: Tensor) -> Sequence[Tensor]:
        inputs = tuple(value if value.requires_grad else value.detach().requires_grad_() for value in inputs)
        return _whole(plain_gradients(_plain(operation, pair), inputs, [given]), inputs)

    return first


def _whole(found: Sequence[Tensor | None], inputs: Sequence[Tensor]) -> list[Tensor]:
    """Derivatives by inputs, zeros for those that nothing depends on."""
    return [torch.zeros_like(value) if by is None else by for by, value in zip(found, inputs, strict=True)]
