"""eqff's fused operations within compiled code, which calls them by name when it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache

import torch
from torch import Tensor, fx

from eqff.derivatives import differentiate
from eqff.errors import ModelFileError
from eqff.export.samples import sample
from eqff.kernels.capture import captured
from eqff.kernels.choice import fused
from eqff.kernels.linear import each_degree_map
from eqff.potential import Potential

NAMESPACE = "eqff"


def run_here(potential: Potential) -> bool:
    """Whether this model's fused operations run, so that they can be part of its code."""
    return fused(torch.empty(0, dtype=potential.dtype))


def used_by(traced: Iterable[fx.Node]) -> tuple[str, ...]:
    """Schemas of the operations in a graph, sorted."""
    targets = {node.target for node in traced if isinstance(node.target, torch._ops.OpOverload)}
    return tuple(sorted(str(target._schema) for target in targets if target.namespace == NAMESPACE))


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


@cache
def decompositions() -> dict[object, Callable[..., Tensor]]:
    """Operations that are better compiled than called: a matrix product for each degree."""
    operation = getattr(getattr(torch.ops, NAMESPACE), each_degree_map.__name__).default
    return {operation: _each_degree_map}


def _each_degree_map(features: Tensor, matrices: Tensor) -> Tensor:
    atoms, channels = features.shape[1:]
    found = [
        (features[degree**2 : (degree + 1) ** 2].reshape(-1, channels) @ matrices[degree]).view(
            2 * degree + 1, atoms, -1
        )
        for degree in range(matrices.shape[0])
    ]
    return torch.cat(found) if len(found) > 1 else found[0]
