"""Captured graphs made machine code: one function for the prediction and one for its derivative."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from types import CodeType
from typing import Any

import torch
from functorch.compile import min_cut_rematerialization_partition
from torch import Tensor, fx
from torch._prims_common import is_non_overlapping_and_dense_or_false
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.function import once_differentiable

from eqff.compilation.capture import Captured
from eqff.compilation.inductor import MachineCode
from eqff.compilation.tapes import Tapes

log = logging.getLogger(__name__)

Function = Callable[..., Sequence[Any]]


@dataclass(frozen=True)
class Code:
    """A prediction that can be differentiated, for all batches whose sizes fit.

    Attributes:
        names: Of predicted fields, in order.
        differentiable: Which of them can be differentiated.
        predict: From weights and tensors of a graph to fields and what the derivative needs.
        derive: From what it needs and cotangents to derivatives by weights that are trained.
        fits: Whether sizes are among those that it was compiled for.
    """

    names: tuple[str, ...]
    differentiable: tuple[bool, ...]
    predict: Function
    derive: Function
    fits: Callable[[Sequence[int]], bool]

    def __call__(self, values: Sequence[Tensor], tensors: Sequence[Tensor], tapes: Tapes) -> dict[str, Tensor]:
        """The fields, from weights, tensors of a graph, and what parts that run as they are write on."""
        fixed: list[Tensor] = []
        attached = iter(_Prediction.apply(self, fixed, tapes, len(values), *values, *tensors, tapes.call))
        rest = iter(fixed)
        found = (next(attached if follows else rest) for follows in self.differentiable)
        return dict(zip(self.names, found, strict=True))


class _Prediction(torch.autograd.Function):
    """Calls compiled code, and again for the derivative."""

    @staticmethod
    def forward(
        ctx: Any, code: Code, fixed: list[Tensor], tapes: Tapes, count: int, *inputs: Tensor
    ) -> tuple[Tensor, ...]:
        """Fields that can be differentiated; others are put into ``fixed``."""
        fields = len(code.names)
        found = code.predict(*inputs)
        pairs = list(zip(found[:fields], code.differentiable, strict=True))
        fixed += [value for value, follows in pairs if not follows]
        kept = found[fields:]
        ctx.save_for_backward(*(value for value in kept if isinstance(value, Tensor)))
        ctx.sizes = [value for value in kept if not isinstance(value, Tensor)]
        ctx.tapes = tapes
        ctx.code, ctx.trained, ctx.inputs = code, [v.requires_grad for v in inputs[:count]], len(inputs)
        return tuple(value for value, follows in pairs if follows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *given: Tensor) -> tuple[Tensor | None, ...]:
        """Derivatives by the weights."""
        # a partitioner puts sizes before tensors that the derivative takes, and after those that the prediction gives
        found = iter(ctx.code.derive(*ctx.sizes, *ctx.saved_tensors, *(g.contiguous() for g in given)))
        by = [next(found) if trained else None for trained in ctx.trained]
        return None, None, None, None, *by, *[None] * (ctx.inputs - len(by))


def compile_captured(captured: Captured, compiler: str = "inductor") -> Code:
    """Machine code of a captured graph.

    Args:
        captured: By `eqff.compilation.capture.capture`.
        compiler: One of `COMPILERS`.
    """
    start = time.perf_counter()
    fields = len(captured.names)
    forward, backward = min_cut_rematerialization_partition(captured.graph, None, num_fwd_outputs=fields)
    _make_dense(forward.graph, backward.graph, fields)
    predict, derive = (COMPILERS[compiler](graph, captured.mode) for graph in (forward, backward))
    log.info("Compiled %d operations in %.0f s.", len(captured.graph.graph.nodes), time.perf_counter() - start)
    return Code(captured.names, captured.differentiable, predict, derive, _fits(captured))


def _make_dense(forward: fx.Graph, backward: fx.Graph, fields: int) -> None:
    """Copies parts of larger arrays that one graph hands to the other: compiled code may not keep them as they are."""
    output = forward.output_node()
    taken = {node.name: node for node in backward.find_nodes(op="placeholder")}
    results = list(output.args[0])
    for index, node in enumerate(results[fields:], start=fields):
        value = node.meta["val"]
        if not isinstance(value, Tensor) or is_non_overlapping_and_dense_or_false(value):
            continue
        with forward.inserting_before(output), value.fake_mode:
            results[index] = forward.call_function(
                torch.ops.aten.clone.default, (node,), {"memory_format": torch.contiguous_format}
            )
            results[index].meta["val"] = value.new_empty(value.shape)
        taken[node.name].meta["val"] = results[index].meta["val"]
    output.args = (tuple(results),)


COMPILERS: dict[str, Callable[[fx.GraphModule, FakeTensorMode], Function]] = {
    "inductor": MachineCode,
    "none": lambda graph, mode: graph,
}
"""Machine code, and the operations of the graph one by one, to test what was captured."""


def _fits(captured: Captured) -> Callable[[Sequence[int]], bool]:
    """What was assumed of the sizes on the way."""
    shapes = captured.mode.shape_env

    @cache  # it is asked at every step, first when the code has run: until then a compiler may come to assume more
    def assumed() -> CodeType:
        text = shapes.produce_guards_expression(list(captured.sizes), ignore_static=False) or "True"
        return compile(text, "<sizes>", "eval")

    fixed = [(n, size) for n, size in enumerate(captured.sizes) if isinstance(size, int)]

    def fits(sizes: Sequence[int]) -> bool:
        if any(sizes[n] != size for n, size in fixed):
            return False
        return bool(shapes.evaluate_guards_expression(assumed(), sizes))

    return fits
