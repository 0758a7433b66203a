"""eqff's fused operations within compiled code, which calls them by name when it runs."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import fx

import eqff.kernels.linear  # noqa: F401  defines operations
from eqff.derivatives import differentiate
from eqff.errors import ModelFileError
from eqff.export.samples import sample
from eqff.kernels.capture import captured
from eqff.kernels.choice import fused
from eqff.kernels.native.declarations import linkable
from eqff.potential import Potential

NAMESPACE = "eqff"


def run_here(potential: Potential) -> bool:
    """Whether this model's fused operations run, so that they can be part of its code."""
    return fused(torch.empty(0, dtype=potential.dtype))


def called_by_name(graph: fx.Graph) -> tuple[str, ...]:
    """Schemas of the operations in a graph that its code is not linked to, sorted."""
    targets = {node.target for node in graph.nodes if isinstance(node.target, torch._ops.OpOverload)}
    targets = {target for target in targets if target.namespace == NAMESPACE} - set(linkable(graph))
    return tuple(sorted(str(target._schema) for target in targets))


def require(schemas: Iterable[str], path: object) -> None:
    """Checks that operations that code was compiled with are here, and take what they took.

    Raises:
        ModelFileError: One is another one now.
    """
    for schema in schemas:
        name = schema.partition("(")[0].removeprefix(f"{NAMESPACE}::")
        here = getattr(getattr(torch.ops, NAMESPACE), name, None)
        if here is None or str(here.default._schema) != schema:
            raise ModelFileError(
                f"{path} was compiled with another version of eqff, whose operation '{name}' is another one: export "
                "the model again, python -m eqff.export model=..."
            )


def tell_constants(potential: Potential) -> None:
    """Computes once, so that operations get to know the numbers that compiled code names by digest only."""
    with captured():
        differentiate(potential.energy, sample(potential))


def transpose_weights(traced: fx.GraphModule) -> None:
    """Keeps transposed weights beside the others, where code would transpose them anew at every call."""
    for node in traced.graph.find_nodes(op="call_function", target=torch.ops.eqff.each_degree_map.default):
        turned = node.args[1]
        if turned.target is not torch.ops.aten.transpose.int or turned.args[0].op != "get_attr":
            continue
        weight, *axes = turned.args
        name = f"{weight.target}_transposed"
        traced.register_buffer(name, getattr(traced, weight.target).detach().transpose(*axes).contiguous())
        with traced.graph.inserting_before(turned):
            kept = traced.graph.get_attr(name)
        kept.meta = dict(turned.meta)
        turned.replace_all_uses_with(kept)
    traced.graph.eliminate_dead_code()
    traced.recompile()
