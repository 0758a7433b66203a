"""What a part that can't be captured does when compiled code runs: it runs as it is, under PyTorch's engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.errors import ModelError
from eqff.kernels.capture import Constant
from eqff.parts import Part

_numbers = count()
_tapes: WeakValueDictionary[int, Tapes] = WeakValueDictionary()


@dataclass(frozen=True)
class Result:
    """A field that a part gives.

    Attributes:
        name: Of the field.
        level: Whether it has a row for each atom or structure.
        shape: Of a row.
        dtype: Of its numbers.
        follows: Whether it can be differentiated, for some batches at least.
    """

    name: str
    level: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    follows: bool


class Layout(Constant):
    """What a part takes and gives as a list of tensors.

    Args:
        place: Of the part in the config.
        fields: Names of the fields that it takes, after positions and cell.
        weights: Names of its weights that it takes, after these.
        results: What it gives.
    """

    def __init__(self, place: str, fields: tuple[str, ...], weights: tuple[str, ...], results: tuple[Result, ...]):
        super().__init__("part", place, fields, weights, results)
        self.place, self.fields, self.weights, self.results = place, fields, weights, results

    def empty(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Results without numbers."""
        rows = {"atom": inputs[0].shape[0], "structure": inputs[1].shape[0]}
        return [inputs[0].new_empty((rows[r.level], *r.shape), dtype=r.dtype) for r in self.results]


@dataclass(frozen=True)
class _Tape:
    """What the engine has written down, from ``inputs`` to ``outputs``; both in memory of their own."""

    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]


class Tapes:
    """What parts leave for their derivatives in one call of compiled code; gone with whoever keeps this object.

    Args:
        parts: By place.
        graph: The batch of the call; inputs of parts have its sizes.
    """

    def __init__(self, parts: Mapping[str, Part], graph: AtomicGraph):
        self._parts, self._graph = parts, graph
        self._tapes: list[_Tape] = []
        number = next(_numbers)
        _tapes[number] = self
        self.call = torch.tensor([number])

    def value(self, layout: Layout, wanted: Sequence[int], inputs: Sequence[Tensor]) -> list[Tensor]:
        """A ticket for `first`, and the part's results.

        Args:
            layout: Of the part.
            wanted: Which inputs it may be differentiated by.
            inputs: Positions, cell, and what else the layout says.

        Raises:
            ModelError: The part gives other fields than it did when the step was captured; or has errors of its own.
        """
        inputs = [_own(value, n in wanted) for n, value in enumerate(inputs)]
        positions, cell, *others = inputs
        fields = dict(zip(layout.fields, others, strict=False))
        weights = dict(zip(layout.weights, others[len(fields) :], strict=True))
        with torch.enable_grad():
            graph = replace(self._graph, cell=cell).deformed(positions)
            found = torch.func.functional_call(self._parts[layout.place], weights, (graph, fields))
        _require_same(layout, {name: value.shape for name, value in found.items()}, layout.empty(inputs))
        outputs = [found[result.name].to(result.dtype) for result in layout.results]
        return [self._ticket(inputs, outputs), *map(_copy, outputs)]

    def first(
        self, number: int, asked: Sequence[int], wanted: Sequence[int], again: bool, given: Sequence[Tensor]
    ) -> list[Tensor]:
        """A ticket for `second` (if ``again``), and derivatives of <given, results> by inputs.

        Args:
            number: On the ticket.
            asked: Which results ``given`` are cotangents of.
            wanted: By which inputs.
            again: Whether they will be differentiated.
            given: Cotangents.
        """
        tape = self._tapes[number]
        given = [_own(value, again) for value in given]
        inputs = [tape.inputs[n] for n in wanted]
        outputs = [tape.outputs[n] for n in asked]
        slopes = _derivatives(outputs, inputs, given, again)
        return [self._ticket([*tape.inputs, *given], slopes) if again else _copy(self.call), *map(_copy, slopes)]

    def second(self, number: int, wanted: Sequence[int], along: Sequence[Tensor]) -> list[Tensor]:
        """Derivatives of <along, what `first` gave> by the part's inputs, numbered on by its cotangents."""
        tape = self._tapes[number]
        slopes = _derivatives(tape.outputs, [tape.inputs[n] for n in wanted], along, again=False)
        return [_copy(value) for value in slopes]

    def _ticket(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Tensor:
        self._tapes.append(_Tape(inputs, outputs))
        return torch.tensor([int(self.call), len(self._tapes) - 1])


def tapes_of(ticket: Tensor) -> Tapes:
    """Those of the call that a ticket, or `Tapes.call`, is of."""
    return _tapes[int(ticket[0])]


def _require_same(layout: Layout, found: Mapping[str, torch.Size], empty: Sequence[Tensor]) -> None:
    expected = {result.name: value.shape for result, value in zip(layout.results, empty, strict=True)}
    if found != expected:
        given, wanted = (", ".join(f"{k} {tuple(v)}" for k, v in sorted(x.items())) for x in (found, expected))
        raise ModelError(
            f"model.{layout.place} gives {given}; the compiled training step takes {wanted}. Train with "
            "training.compile=false."
        )


def _own(value: Tensor, follows: bool) -> Tensor:
    # compiled code writes into its arrays again as soon as nothing in it needs them
    return value.detach().clone().requires_grad_(follows)


def _copy(value: Tensor) -> Tensor:
    return value.detach().clone(memory_format=torch.contiguous_format)


def _derivatives(
    outputs: Sequence[Tensor], inputs: Sequence[Tensor], given: Sequence[Tensor], again: bool
) -> tuple[Tensor, ...]:
    pairs = [(output, g) for output, g in zip(outputs, given, strict=True) if output.requires_grad]
    if not pairs:
        return tuple(torch.zeros_like(value) for value in inputs)
    outputs, given = zip(*pairs, strict=True)
    options = {"retain_graph": True, "allow_unused": True, "materialize_grads": True}
    with torch.enable_grad():
        return torch.autograd.grad(outputs, inputs, given, create_graph=again, **options)
