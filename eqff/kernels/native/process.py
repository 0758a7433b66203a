"""The C functions within this process, for code that is compiled in it or was before on this machine.

Code that Inductor makes for a CPU declares them and calls them; the loader finds them in a library that is loaded for
all to see, once for each precision. Constants that operations name by digest are told to it.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, fx

from eqff.kernels.capture import constant_of
from eqff.kernels.choice import DTYPES
from eqff.kernels.library import beside, compiled, complaint, find_compiler, in_cache, shared_library
from eqff.kernels.native.declarations import calls, linkable
from eqff.kernels.native.objects import SOURCES, compiled_calls

log = logging.getLogger(__name__)

_VISIBLE = '__attribute__((visibility("default")))'


@cache
def functions(dtype: torch.dtype) -> ctypes.CDLL | None:
    """The library, made at the first call on a machine; None, with a log line, where it can't be."""
    try:
        objects = compiled_calls(SOURCES / "told", dtype, [f"-DOPERATION(name)={_VISIBLE} {_name('##name##', dtype)}"])
        kernels = compiled(find_compiler())
        digest = hashlib.sha256("\0".join(path.name for path in (*objects, kernels)).encode()).hexdigest()[:16]
        libraries = [*beside(kernels), f"-L{Path(torch.__file__).parent / 'lib'}", "-ltorch_cpu"]
        path = in_cache(f"calls-{digest}.so", lambda made: shared_library(made, objects, libraries))
        return ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("Compiled steps call fused operations by Python, which takes longer: %s", complaint(error))
        return None


@dataclass(frozen=True, eq=False)
class Operation:
    """One of eqff's operations, which it equals; this one can be pickled, as Inductor's cache asks of settings."""

    name: str

    @property
    def overload(self) -> torch._ops.OpOverload:
        """Itself."""
        return getattr(torch.ops.eqff, self.name).default

    def __hash__(self) -> int:
        return hash(self.overload)

    def __eq__(self, other: object) -> bool:
        return other is self.overload or (isinstance(other, Operation) and other.name == self.name)


def declared(graph: fx.Graph) -> dict[Operation, list[str]]:
    """C declarations of operations in a graph, as Inductor's ``custom_ops_to_c_shims``; constants are told.

    Args:
        graph: Of which each tensor is on a CPU, with values of ``meta["val"]``.
    """
    found = {}
    for each, text in linkable(graph).items():
        nodes = [node for node in calls(graph) if node.target == each]
        kinds = {value.dtype for node in nodes for value in _values(node) if value.is_floating_point()}
        dtype = min(kinds, key=str, default=torch.float32)  # edges alone have no precision
        if len(kinds) > 1 or dtype not in DTYPES or functions(dtype) is None:
            continue
        _tell_constants(nodes, dtype)
        found[Operation(each._schema.name.removeprefix("eqff::"))] = [_renamed(text, dtype)]
    return found


def _values(node: fx.Node) -> list[Tensor]:
    values = [argument.meta["val"] for argument in node.args if isinstance(argument, fx.Node)]
    return [value for value in values if isinstance(value, Tensor)]


def _name(operation: str, dtype: torch.dtype) -> str:
    return f"eqff_{operation}_{DTYPES[dtype]}"


def _renamed(declaration: str, dtype: torch.dtype) -> str:
    """A declaration under the name that has the precision in it, which compiled code does not know."""
    called = declaration.partition("(")[0].split()[-1]
    renamed = f"#define {called} {_name(called.removeprefix('aoti_torch_cpu_'), dtype)}"
    # Inductor puts "extern" before and a semicolon behind
    return f"int eqff_calls;\n{renamed}\nextern {declaration}"


def _tell_constants(nodes: Sequence[fx.Node], dtype: torch.dtype) -> None:
    for node in nodes:
        if str(node.target).startswith("eqff.rows"):
            _tell_bilinear(node.args[0], tuple(node.args[3]), dtype)
        if str(node.target).startswith("eqff.products"):
            _tell_product(node.args[0], dtype)


@cache
def _tell_bilinear(digest: str, axes: tuple[int, ...], dtype: torch.dtype) -> None:
    table = constant_of(digest).table(axes, dtype)
    order = (ctypes.c_int64 * len(axes))(*axes)
    _function("tell_bilinear", dtype)(digest.encode(), order, ctypes.c_void_p(table.pointer))


@cache
def _tell_product(digest: str, dtype: torch.dtype) -> None:
    plan = constant_of(digest)
    sizes = (ctypes.c_int64(size) for size in (plan.parts_in, plan.parts_out, plan.outputs))
    _function("tell_product", dtype)(digest.encode(), *sizes, *plan.code.functions)


def _function(operation: str, dtype: torch.dtype) -> ctypes._CFuncPtr:
    function = getattr(functions(dtype), _name(operation, dtype))
    function.restype = None
    return function
