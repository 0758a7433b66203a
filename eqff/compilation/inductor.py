"""Machine code of graphs by Inductor, whose inner function is called: derivatives are in the graphs already."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch._guards import TracingContext, tracing
from torch._inductor import config
from torch._inductor.compile_fx import compile_fx_inner
from torch._inductor.virtualized import V
from torch._subclasses.fake_tensor import FakeTensorMode

from eqff.compilation.failures import FAILURES, reason

log = logging.getLogger(__name__)

OPTIONS = {"force_pointwise_cat": True}
"""Where torch 2.13 writes a concatenation in pieces on CPU, it fuses them with loops that read a neighbour sum before
it is summed up: features came out wrong without a word. Written as one loop they are right."""

CPP = {"cpp_wrapper": True, "cpp_wrapper_build_separate": True}
"""All loops of a graph, and the function that calls them, as C++: two files instead of one for each loop and a function
in Python. The compiler is faster (most of its time is torch's headers), and so is what it makes."""


def machine_code(graph: fx.GraphModule, mode: FakeTensorMode) -> Callable[..., Sequence[Any]]:
    """A function of the graph's inputs that gives its outputs.

    Args:
        graph: Of operations that Inductor knows; its outputs keep their strides.
        mode: In which its sizes are symbols.
    """
    inputs = [node.meta["val"] for node in graph.graph.find_nodes(op="placeholder")]
    on_cpu = all(value.device.type == "cpu" for value in inputs if isinstance(value, Tensor))
    if on_cpu:
        try:
            return _compiled(copy.deepcopy(graph), inputs, mode, in_cpp=True)
        except FAILURES as error:
            log.warning("The compiled step is called from Python, which takes longer: %s", reason(error))
    return _compiled(graph, inputs, mode, in_cpp=False)


def _compiled(
    graph: fx.GraphModule, inputs: Sequence[Any], mode: FakeTensorMode, in_cpp: bool
) -> Callable[..., Sequence[Any]]:
    inputs = [value.detach() if isinstance(value, Tensor) else value for value in inputs]
    output = graph.graph.output_node()
    output.args = (list(output.args[0]),)
    output.meta["user_visible_output_idxs"] = [n for n, v in enumerate(output.args[0]) if isinstance(v, fx.Node)]
    options = OPTIONS | CPP if in_cpp else OPTIONS
    with torch.no_grad(), V.set_fake_mode(mode), tracing(TracingContext(mode)), config.patch(options):
        code = compile_fx_inner(graph, inputs, is_inference=True, cpp_wrapper=in_cpp)
    return lambda *values: code(list(values))
