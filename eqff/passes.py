"""Features pass by pass: those of a backbone, and what exchanges make of them after each of its passes."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.parts import Backbone, Exchange


def features_of(graph: AtomicGraph, backbone: Backbone | None, exchanges: Collection[Exchange]) -> dict[str, Tensor]:
    """The fields that a backbone and exchanges write.

    Args:
        graph: The batch.
        backbone: None for no fields at all.
        exchanges: In the order in which they run after each pass.

    Returns:
        ``features`` (N, (degree + 1)², C) after the last pass, ``pass_scalars`` (N, passes, C), and of every field
        that exchanges write its values after the last pass, under its name, and after all of them, stacked along
        dimension 1, as ``pass_NAME``.
    """
    if backbone is None:
        return {}
    prepared = backbone.prepare(graph)
    features = backbone.embed(graph)
    scalars, passes = [], {}
    for index in range(backbone.num_passes):
        features = backbone.interact(index, features, graph, prepared)
        for exchange in exchanges:
            previous = {name: passes[name][-1] for name in exchange.writes if name in passes}
            more = (previous,) if exchange.reads_previous else ()
            features, written = exchange(index, features, graph, *more)
            for name, value in written.items():
                passes.setdefault(name, []).append(value)
        scalars.append(features[:, 0, :])
    last = {name: values[-1] for name, values in passes.items()}
    every = {f"pass_{name}": torch.stack(values, dim=1) for name, values in passes.items()}
    return last | every | {"features": features, "pass_scalars": torch.stack(scalars, dim=1)}
