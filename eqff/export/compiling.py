"""From functions of tensors to machine code: traced with symbolic sizes, exported, compiled by AOTInductor."""

from __future__ import annotations

import copy
import logging
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from eqff.compilation.single_rows import with_single_rows
from eqff.data.flat import pack
from eqff.data.graph import AtomicGraph
from eqff.errors import ModelError
from eqff.export import operations
from eqff.export.native import linked
from eqff.export.program import DerivativeFunction, EnergyFunction, Signature, no_cotangents
from eqff.kernels.capture import captured
from eqff.kernels.choice import kernels
from eqff.potential import Potential

_log = logging.getLogger(__name__)

OPTIONS = {"force_pointwise_cat": True}
"""Of Inductor; without, torch 2.13 reads neighbour sums too early in some fusions (see `eqff.compilation`)."""


_FAILURES = (RuntimeError, TypeError, ValueError, AssertionError, OSError, subprocess.SubprocessError)
"""Of PyTorch's compilers and the C++ compiler."""


@dataclass(frozen=True)
class Compilation:
    """What came out.

    Attributes:
        files: Of each function: "derivatives", and "energy" where derivatives take cotangents.
        operations: Schemas of eqff's operations that the code calls by name.
    """

    files: dict[str, list[str]]
    operations: tuple[str, ...]


def compile_functions(compiled: Potential, names: Signature, graph: AtomicGraph) -> Compilation:
    """Compiles energies and derivatives, with fused operations where they run.

    Args:
        compiled: The parts to compile.
        names: What goes in and out.
        graph: To trace with.

    Raises:
        ModelError: The compiler can't; its own message is the cause.
    """
    frozen = copy.deepcopy(compiled).requires_grad_(False)
    inputs = pack(graph, names.lists)
    functions: dict[str, tuple[torch.nn.Module, list[Tensor]]] = {}
    if names.handed:
        with torch.no_grad():
            fields = compiled.energy(graph)[1]
        functions["energy"] = EnergyFunction(frozen, names), inputs
        inputs = inputs + no_cotangents(fields, names)
    functions["derivatives"] = DerivativeFunction(frozen, names), inputs
    files, used = {}, set()
    with captured() if operations.run_here(compiled) else kernels("plain"):
        for name, (function, tensors) in functions.items():
            files[name], called = _compile(name, function, tensors, graph)
            used.update(called)
    return Compilation(files, tuple(sorted(used)))


def _compile(
    name: str, function: torch.nn.Module, inputs: Sequence[Tensor], graph: AtomicGraph
) -> tuple[list[str], tuple[str, ...]]:
    start = time.perf_counter()
    try:
        # what is traced holds no Python of eqff's models: first derivatives are part of it
        traced = make_fx(function, with_single_rows({}), "symbolic", _allow_non_fake_inputs=True)(*inputs)
        operations.transpose_weights(traced)
        program = torch.export.export(traced, tuple(inputs), dynamic_shapes=_dynamic(inputs, graph))
        options = {**OPTIONS, **_no_line_tables(), "aot_inductor.package": True}
        with linked(traced.graph, graph.positions.dtype) as more:
            files = torch._inductor.aot_compile(
                program.module(check_guards=False), tuple(inputs), options=options | more
            )
    except _FAILURES as error:
        reason = (str(error).strip().splitlines() or [repr(error)])[0]
        raise ModelError(
            f"torch {torch.__version__} can't compile this model ahead of time: {reason} "
            "Is there a C++ compiler (g++)? The model file itself works as before."
        ) from error
    _log.info("Compiled %s in %.0f s.", name, time.perf_counter() - start)
    return [str(file) for file in files], operations.called_by_name(traced.graph)


def _no_line_tables() -> dict[str, bool]:
    """Tables for profilers make half of the file, and name the folders of this machine; not every torch has them."""
    known = hasattr(torch._inductor.config.aot_inductor, "enable_line_tables")
    return {"aot_inductor.enable_line_tables": False} if known else {}


def _dynamic(inputs: Sequence[Tensor], graph: AtomicGraph) -> tuple[dict[int, torch.export.Dim] | None, ...]:
    """Which sizes can change: numbers of atoms, and of each list edges and columns of the table."""
    changing = {graph.num_atoms: torch.export.Dim("atoms", min=1)}
    for name, edges in graph.edges.items():
        changing[edges.sender.shape[0]] = torch.export.Dim(f"edges_{name}", min=2)
        changing[edges.slots.shape[1]] = torch.export.Dim(f"places_{name}", min=2)
    # a weight's size can be the same number, but only the first two sizes of what goes in are of atoms and edges
    described = []
    for tensor in inputs:
        first = {0: changing[tensor.shape[0]]} if tensor.dim() and tensor.shape[0] in changing else {}
        table = tensor.dim() == 2 and tensor.shape[0] == graph.num_atoms and tensor.dtype == torch.int64
        described.append(first | ({1: changing[tensor.shape[1]]} if table else {}) or None)
    return tuple(described)
