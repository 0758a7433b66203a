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

from eqff.compilation.failures import FAILURES
from eqff.compilation.leftovers import compiled_whole
from eqff.kernels.library import complaint
from eqff.kernels.native.process import declared

log = logging.getLogger(__name__)

OPTIONS = {"force_pointwise_cat": True}
"""Where torch 2.13 writes a concatenation in pieces on CPU, it fuses them with loops that read a neighbour sum before
it is summed up: features came out wrong without a word. Written as one loop they are right."""

CPP = {"cpp_wrapper": True, "cpp_wrapper_build_separate": True}
"""All loops of a graph, and the function that calls them, as C++: two files instead of one for each loop and a function
in Python. The compiler is faster (most of its time is torch's headers), and so is what it makes."""


class MachineCode:
    """A function of a graph's inputs that gives its outputs, which keep their strides.

    On a CPU it is called from C++ if that works, which the first call shows, else from Python, with one line in the
    log: not every version of torch writes every operation in C++.

    Args:
        graph: Of operations that Inductor knows.
        mode: In which its sizes are symbols.
    """

    def __init__(self, graph: fx.GraphModule, mode: FakeTensorMode):
        self._graph: fx.GraphModule | None = graph
        self._mode = mode
        values = [node.meta["val"] for node in graph.graph.find_nodes(op="placeholder")]
        if any(value.device.type != "cpu" for value in values if isinstance(value, Tensor)):
            self._function = self._from_python()
            return
        try:
            self._function = _compiled(graph, mode, in_cpp=True)
        except FAILURES as error:
            self._function = self._from_python(error)

    def __call__(self, *values: Any) -> Sequence[Any]:
        """The outputs."""
        if self._graph is None:
            return self._function(list(values))
        try:
            found = self._function(list(values))
        except FAILURES as error:
            self._function = self._from_python(error)
            found = self._function(list(values))
        self._graph = None  # it works
        return found

    def _from_python(self, error: BaseException | None = None) -> Callable[[list[Any]], Sequence[Any]]:
        if error is not None:
            log.warning("The compiled step is called from Python, which takes longer: %s", complaint(error))
        graph, self._graph = self._graph, None
        return _compiled(graph, self._mode, in_cpp=False)


def _compiled(graph: fx.GraphModule, mode: FakeTensorMode, in_cpp: bool) -> Callable[[list[Any]], Sequence[Any]]:
    return compiled_whole(lambda: _code(copy.deepcopy(graph), mode, in_cpp))


def _code(graph: fx.GraphModule, mode: FakeTensorMode, in_cpp: bool) -> Callable[[list[Any]], Sequence[Any]]:
    inputs = [node.meta["val"] for node in graph.graph.find_nodes(op="placeholder")]
    inputs = [value.detach() if isinstance(value, Tensor) else value for value in inputs]
    output = graph.graph.output_node()
    output.args = (list(output.args[0]),)
    output.meta["user_visible_output_idxs"] = [n for n, v in enumerate(output.args[0]) if isinstance(v, fx.Node)]
    options = OPTIONS
    if in_cpp:
        options = OPTIONS | CPP | {"aot_inductor.custom_ops_to_c_shims": declared(graph.graph)}
    with torch.no_grad(), V.set_fake_mode(mode), tracing(TracingContext(mode)), config.patch(options):
        return compile_fx_inner(graph, inputs, is_inference=True, cpp_wrapper=in_cpp)
