"""The training step compiled as a whole, first derivative included, and held against the plain one before use."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.derivatives import differentiate_functional
from eqff.errors import ModelError

if TYPE_CHECKING:
    from eqff.potential import Potential

AGREEMENT = {torch.float32: 1e-3, torch.float64: 1e-8}
"""Largest difference to the plain step, relative to the largest value of a field: some thousand roundings."""


def compiled_prediction(potential: Potential, graph: AtomicGraph, stress: bool) -> dict[str, Tensor]:
    """The prediction of `Potential.forward` with ``create_graph``, from compiled code (compiled at the first call)."""
    return _compiled()(potential, graph, stress)


def require_agreement(compiled: Mapping[str, Tensor], plain: Mapping[str, Tensor]) -> None:
    """Refuses compiled results that differ from plain ones by more than rounding.

    Raises:
        ModelError: Names the field and the difference. Compilers have been seen to be wrong without a word.
    """
    for name, expected in ((name, value.detach()) for name, value in plain.items()):
        if not expected.is_floating_point() or expected.numel() == 0:
            continue
        size, difference = expected.abs().max(), (compiled[name].detach() - expected).abs().max()
        limit = AGREEMENT.get(plain["forces"].dtype, 1e-3) * max(float(size), 1e-6)
        if not float(difference) <= limit:
            raise ModelError(
                f"The compiled step gives other {name} than the plain one: they differ by {float(difference):.3g}, "
                f"with values up to {float(size):.3g}. torch {torch.__version__} compiles this model wrongly; "
                "train with training.compile=false."
            )


@cache
def _compiled() -> Any:
    # Where torch 2.13 writes a concatenation in pieces on CPU, it fuses them with loops that read a neighbour sum
    # before it is summed up: features came out wrong without a word. Written as one loop they are right.
    return torch.compile(_step, fullgraph=True, dynamic=True, options={"force_pointwise_cat": True})


def _step(potential: Potential, graph: AtomicGraph, stress: bool) -> dict[str, Tensor]:
    return differentiate_functional(potential.energy, graph, stress=stress)
