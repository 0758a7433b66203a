"""Which operations of a graph compiled code can call as C functions, and how it sees them."""

from __future__ import annotations

import torch
from torch import fx

from eqff.kernels.capture import constant_of

_C_TYPES = {"Tensor": "AtenTensorHandle", "SymInt": "int64_t", "str": "const char*", "bool": "int32_t"}
_C_TYPES |= {"int[]": "const int64_t*, int64_t"}
_EDGES = "Tensor receiver, Tensor sender, Tensor into, Tensor out_of, Tensor order"
_MESSAGES = "Tensor matrices, Tensor weights, Tensor features"
SCHEMAS = (
    "edge_order(Tensor receiver, Tensor sender, SymInt num_atoms) -> (Tensor, Tensor, Tensor)",
    f"messages_sum({_MESSAGES}, {_EDGES}) -> Tensor",
    f"messages_first({_MESSAGES}, Tensor given, {_EDGES}) -> (Tensor, Tensor, Tensor)",
    f"messages_second({_MESSAGES}, Tensor given, Tensor matrices2, Tensor weights2, Tensor features2, {_EDGES}) -> "
    "(Tensor, Tensor, Tensor, Tensor)",
    "each_degree_map(Tensor features, Tensor matrices) -> Tensor",
    "each_degree_outer(Tensor left, Tensor right) -> Tensor",
    "rows_bilinear(str constant, Tensor x, Tensor y, int[] axes) -> Tensor",
    "products_value(str constant, Tensor factors, Tensor scale) -> Tensor",
    "products_first(str constant, Tensor factors, Tensor scale, Tensor given, bool want_scale) -> (Tensor, Tensor)",
    "products_second(str constant, Tensor factors, Tensor scale, Tensor given, Tensor along) -> "
    "(Tensor, Tensor, Tensor)",
)
"""What the C++ beside this file is written for; operations with other schemas are called by name."""


def linkable(graph: fx.Graph) -> dict[torch._ops.OpOverload, str]:
    """Operations in a traced graph that compiled code can call as C functions, and their declarations."""
    schemas = {node.target: str(node.target._schema).removeprefix("eqff::") for node in calls(graph)}
    lacking = {node.target for node in calls(graph, "products") if not has_code(node)}
    return {each: declaration(text) for each, text in schemas.items() if text in SCHEMAS and each not in lacking}


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


def calls(graph: fx.Graph, name: str = "") -> list[fx.Node]:
    """Nodes that call eqff's operations whose names begin with ``name``."""
    nodes = [node for node in graph.nodes if isinstance(node.target, torch._ops.OpOverload)]
    return [node for node in nodes if str(node.target).startswith(f"eqff.{name}")]


def has_code(node: fx.Node) -> bool:
    """Whether there is code for the polynomials of a node; some are too long for any."""
    plan = constant_of(node.args[0])
    return plan.code.takes(plan.channels(node.args[1].meta["val"]))
