"""Fused operations as machine code within an exported model's file, so that no Python runs between its kernels.

AOTInductor lets code call an operation as a C function (``custom_ops_to_c_shims``), which is linked to it: from the
sources that eqff ships, code for the polynomials of the model, and its tables of couplings. So the file needs neither
the library of eqff nor a compiler where it is loaded.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import fx

from eqff.export.tables import bilinear_tables, product_codes, product_table
from eqff.kernels.capture import constant_of
from eqff.kernels.choice import DTYPES
from eqff.kernels.generated.code import REAL
from eqff.kernels.library import archive, compiled_object

SOURCES = Path(__file__).parent / "source"
_LIBRARY = "eqff_operations"
_C_TYPES = {"Tensor": "AtenTensorHandle", "SymInt": "int64_t", "str": "const char*", "bool": "int32_t"}
_C_TYPES |= {"int[]": "const int64_t*, int64_t"}
_EDGES = "Tensor receiver, Tensor sender, Tensor into, Tensor out_of, Tensor order"
_SCHEMAS = (
    "edge_order(Tensor receiver, Tensor sender, SymInt num_atoms) -> (Tensor, Tensor, Tensor)",
    f"messages_sum(Tensor matrices, Tensor weights, Tensor features, {_EDGES}) -> Tensor",
    f"messages_first(Tensor matrices, Tensor weights, Tensor features, Tensor given, {_EDGES}) -> "
    "(Tensor, Tensor, Tensor)",
    "each_degree_map(Tensor features, Tensor matrices) -> Tensor",
    "rows_bilinear(str constant, Tensor x, Tensor y, int[] axes) -> Tensor",
    "products_value(str constant, Tensor factors, Tensor scale) -> Tensor",
    "products_first(str constant, Tensor factors, Tensor scale, Tensor given, bool want_scale) -> (Tensor, Tensor)",
)
"""What the C++ in `SOURCES` is written for; operations with other schemas are called by name."""


def linkable(graph: fx.Graph) -> dict[torch._ops.OpOverload, str]:
    """Operations in a traced graph that can be linked to its code, and their declarations in C."""
    schemas = {node.target: str(node.target._schema).removeprefix("eqff::") for node in _calls(graph)}
    lacking = {node.target for node in _calls(graph, "products") if not _has_code(node)}
    return {each: declaration(text) for each, text in schemas.items() if text in _SCHEMAS and each not in lacking}


def declaration(schema: str) -> str:
    """How compiled code sees an operation.

    Args:
        schema: As PyTorch prints it, without its namespace.
    """
    name, _, rest = schema.partition("(")
    arguments, _, results = rest.partition(") -> ")
    kinds = [_C_TYPES[argument.split()[0]] for argument in arguments.split(", ")]
    kinds += ["AtenTensorHandle*"] * results.count("Tensor")
    return f"AOTITorchError aoti_torch_cpu_{name}({', '.join(kinds)})"


@contextmanager
def linked(graph: fx.Graph, dtype: torch.dtype) -> Iterator[dict[str, Any]]:
    """Within it, code of a graph is linked to its operations if Inductor is given the options that it yields.

    Args:
        graph: As traced.
        dtype: Of the model.

    Raises:
        OSError: There is no compiler.
        subprocess.SubprocessError: It fails.
    """
    operations = linkable(graph)
    if not operations:
        yield {}
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _build(folder, graph, dtype)
        with _linker_looks_in(folder):
            yield {
                "aot_inductor.custom_ops_to_c_shims": {each: [text] for each, text in operations.items()},
                "aot_inductor.custom_op_libs": [_LIBRARY],
            }


def _calls(graph: fx.Graph, name: str = "") -> list[fx.Node]:
    """Nodes that call eqff's operations whose names begin with ``name``."""
    nodes = [node for node in graph.nodes if isinstance(node.target, torch._ops.OpOverload)]
    return [node for node in nodes if str(node.target).startswith(f"eqff.{name}")]


def _has_code(node: fx.Node) -> bool:
    """Whether there is code for the polynomials of a node; some are too long for any."""
    plan = constant_of(node.args[0])
    return plan.code.takes(plan.channels(node.args[1].meta["val"]))


def _build(folder: Path, graph: fx.Graph, dtype: torch.dtype) -> None:
    """Makes the library that a graph is linked to, of files that are shipped and those that are written here."""
    rows = {(node.args[0], tuple(node.args[3])): constant_of(node.args[0]) for node in _calls(graph, "rows")}
    plans = {node.args[0]: constant_of(node.args[0]) for node in _calls(graph, "products") if _has_code(node)}
    headers = {"bilinear_tables.h": bilinear_tables(rows, dtype), "product_table.h": product_table(plans)}
    codes = product_codes(plans)
    for name, text in (headers | codes).items():
        (folder / name).write_text(text, encoding="utf-8")
    places = (f"-I{path}" for path in (folder, SOURCES, Path(torch.__file__).parent / "include"))
    options = [f"-DREAL={REAL[dtype]}", f"-DKERNEL(name)=name##_{DTYPES[dtype]}", *places]
    common = "\0".join([torch.__version__, (SOURCES / "handles.h").read_text(encoding="utf-8")])
    # of written code, more than -O1 takes longer and makes nothing faster
    objects = [compiled_object(folder / name, [*options, "-O1"], common) for name in codes]
    for source in sorted(SOURCES.glob("*.cpp")):
        text = source.read_text(encoding="utf-8")
        included = [header for name, header in headers.items() if name in text]
        objects.append(compiled_object(source, options, "\0".join([common, *included])))
    archive(folder / f"lib{_LIBRARY}.a", objects)


@contextmanager
def _linker_looks_in(folder: Path) -> Iterator[None]:
    """GCC and Clang look for libraries where ``LIBRARY_PATH`` says; Inductor has no setting for it."""
    before = os.environ.get("LIBRARY_PATH")
    os.environ["LIBRARY_PATH"] = os.pathsep.join([str(folder), *([before] if before else [])])
    try:
        yield
    finally:
        if before is None:
            del os.environ["LIBRARY_PATH"]
        else:
            os.environ["LIBRARY_PATH"] = before
