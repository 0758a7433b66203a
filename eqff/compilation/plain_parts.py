"""Parts that can't be captured as single operations of the graph that is, so that all others still are compiled.

Where sizes or branches inside of a part depend on values (sums over waves, solvers that iterate, triples of
neighbours), capturing leaves one node for the part, one for its derivative and one for that derivative's. When the code
runs, the nodes call the part itself (`eqff.compilation.tapes`), checks and messages included.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from eqff.compilation.tapes import Layout, Result, tapes_of
from eqff.data import fields as table
from eqff.data.graph import AtomicGraph
from eqff.kernels.capture import each_like, operation
from eqff.kernels.rules import needed
from eqff.parts import Part, Term

Results = Mapping[str, tuple[Result, ...]]
"""What parts that run as they are give, by place."""


@dataclass(frozen=True)
class _Capture:
    results: Results
    call: Tensor


_capture: ContextVar[_Capture | None] = ContextVar("capture of plain parts", default=None)


@contextmanager
def with_plain_parts(results: Results, call: Tensor) -> Iterator[None]:
    """Within it, `called` leaves nodes for the parts at these places.

    Args:
        results: What they give.
        call: Will be `Tapes.call`, (1,).
    """
    token = _capture.set(_Capture(results, call))
    try:
        yield
    finally:
        _capture.reset(token)


def called(place: str, part: Part, graph: AtomicGraph, fields: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """What a head or term gives.

    Args:
        place: Of the part in the config.
        part: The head or term.
        graph: The batch.
        fields: That have been written before.
    """
    capture = _capture.get()
    if capture is None or place not in capture.results:
        return part(graph, fields)
    read = tuple(name for name in part.reads if name in fields)
    weights = {name: value for name, value in part.named_parameters() if value.requires_grad}
    layout = Layout(place, read, tuple(weights), capture.results[place])
    inputs = (graph.positions, graph.cell, *(fields[name] for name in read), *weights.values())
    found = _Value.apply(*inputs, capture.call, layout)
    return {result.name: value for result, value in zip(layout.results, found, strict=True)}


def results_of(parts: Mapping[str, Part], prediction: Mapping[str, Tensor]) -> Results:
    """What parts give, from a prediction that was made with them.

    Args:
        parts: Heads and terms by place.
        prediction: That can be differentiated.
    """
    return {place: tuple(_results(place, part, prediction)) for place, part in parts.items()}


def _results(place: str, part: Part, prediction: Mapping[str, Tensor]) -> Iterator[Result]:
    places = {name: (name, table.field(name).level) for name in part.writes if name in prediction}
    if isinstance(part, Term):
        before = "atom_energy_" if part.level == "atom" else "energy_"
        places["energy"] = (before + place.partition(".")[2], part.level)
    for name, (kept, level) in places.items():
        value = prediction[kept]
        # one that can't be differentiated now may be for the next batch, in a field, say
        yield Result(name, level, tuple(value.shape[1:]), value.dtype, value.is_floating_point())


def _value_like(layout: Layout, wanted: Sequence[int], call: Tensor, inputs: Sequence[Tensor]) -> list[Tensor]:
    return [call.new_empty(2), *layout.empty(inputs)]


@operation("(str constant, int[] wanted, Tensor call, Tensor[] inputs) -> Tensor[]", _value_like)
def plain_value(layout: Layout, wanted: Sequence[int], call: Tensor, inputs: Sequence[Tensor]) -> list[Tensor]:
    """See `Tapes.value`."""
    return tapes_of(call).value(layout, wanted, inputs)


def _first_like(
    asked: Sequence[int], wanted: Sequence[int], again: bool, ticket: Tensor, inputs: Sequence[Tensor], *_: Any
) -> list[Tensor]:
    return [ticket.new_empty(2 if again else 1), *each_like(*(inputs[n] for n in wanted))]


@operation(
    "(int[] asked, int[] wanted, bool again, Tensor ticket, Tensor[] inputs, Tensor[] given) -> Tensor[]", _first_like
)
def plain_first(
    asked: Sequence[int],
    wanted: Sequence[int],
    again: bool,
    ticket: Tensor,
    inputs: Sequence[Tensor],
    given: Sequence[Tensor],
) -> list[Tensor]:
    """See `Tapes.first`; ``inputs`` say what sizes there are."""
    return tapes_of(ticket).first(int(ticket[1]), asked, wanted, again, given)


def _second_like(wanted: Sequence[int], ticket: Tensor, inputs: Sequence[Tensor], *_: Any) -> list[Tensor]:
    return [ticket.new_empty(1), *each_like(*(inputs[n] for n in wanted))]


@operation("(int[] wanted, Tensor ticket, Tensor[] inputs, Tensor[] along) -> Tensor[]", _second_like)
def plain_second(
    wanted: Sequence[int], ticket: Tensor, inputs: Sequence[Tensor], along: Sequence[Tensor]
) -> list[Tensor]:
    """See `Tapes.second`; ``inputs`` are those of the part and the cotangents, and say what sizes there are.

    A number that nobody reads comes first: C++ that PyTorch before 2.15 writes takes a list of one tensor for a tensor,
    and the process ends.
    """
    return [ticket[:1].clone(), *tapes_of(ticket).second(int(ticket[1]), wanted, along)]


def _where(flags: Sequence[bool]) -> list[int]:
    return [n for n, flag in enumerate(flags) if flag]


def _placed(found: Sequence[Tensor], places: Sequence[int], count: int) -> list[Tensor | None]:
    each = dict(zip(places, found, strict=True))
    return [each.get(n) for n in range(count)]


class _Value(torch.autograd.Function):
    """A part's results, from its inputs, the number of the call and its layout."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, ...]:
        """The value; inputs are kept for the derivatives."""
        *inputs, call, layout = arguments
        ticket, *results = plain_value(layout, _where(ctx.needs_input_grad[:-2]), call, inputs)
        ctx.set_materialize_grads(False)
        fixed = [value for value, result in zip(results, layout.results, strict=True) if not result.follows]
        ctx.mark_non_differentiable(*fixed)
        ctx.save_for_backward(ticket, *inputs)
        return tuple(results)

    @staticmethod
    def backward(ctx: Any, *given: Tensor | None) -> tuple[Tensor | None, ...]:
        """Derivatives of the inner product with ``given`` by the inputs that are asked for."""
        ticket, *inputs = ctx.saved_tensors
        asked, wanted = _where([g is not None for g in given]), _where(needed(ctx)[: len(inputs)])
        if not asked or not wanted:
            return (None,) * (len(inputs) + 2)
        cotangents = (given[n] for n in asked)
        found = _First.apply(*inputs, *cotangents, ticket, asked, wanted, torch.is_grad_enabled())
        return *_placed(found, wanted, len(inputs)), None, None


class _First(torch.autograd.Function):
    """Derivatives of a part, from its inputs, cotangents, ticket, and which are asked for."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, ...]:
        """The value; inputs are kept for the derivatives."""
        *tensors, ticket, asked, wanted, again = arguments
        inputs, given = tensors[: -len(asked)], tensors[-len(asked) :]
        left, *slopes = plain_first(asked, wanted, again, ticket, inputs, given)
        ctx.save_for_backward(left, *tensors)
        return tuple(slopes)

    @staticmethod
    def backward(ctx: Any, *along: Tensor) -> tuple[Tensor | None, ...]:
        """Derivatives of the inner product with ``along`` by inputs and cotangents.

        Raises:
            NotImplementedError: They are to be differentiated once more.
        """
        if torch.is_grad_enabled():
            raise NotImplementedError("third derivatives of a part that runs as it is are asked for.")
        left, *tensors = ctx.saved_tensors
        wanted = _where(needed(ctx)[: len(tensors)])
        found = plain_second(wanted, left, tensors, along)[1:] if wanted else []
        return *_placed(found, wanted, len(tensors)), None, None, None, None
