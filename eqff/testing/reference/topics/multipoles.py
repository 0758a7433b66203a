"""Topic ``multipoles``: permanent moments up to quadrupoles and induced dipoles, open and periodic, with groups."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.derivatives import differentiate
from eqff.longrange.multipoles.interaction import MultipoleInteraction
from eqff.longrange.multipoles.moments import Moments
from eqff.longrange.multipoles.points import potential_at
from eqff.longrange.multipoles.scaling import PairScaling
from eqff.testing.graphs import graph_of
from eqff.testing.reference.case import Quantity, ReferenceCase
from eqff.testing.reference.induction import PolarizableSystem, induced, pair_scan, responses

CUTOFF, ACCURACY, MESH_FROM = 9.0, 1e-14, 10**6

PERMANENT = {
    "_charges_only": 0,
    "_permanent_up_to_charges": 0,
    "_permanent_up_to_dipoles": 1,
    "_permanent": 2,
    "_permanent_tight": 2,
}
"""Ends of the names of energies, forces and stresses without induction, and the highest rank of moments in them."""


def quantities(case: ReferenceCase) -> Iterator[Quantity]:
    """Permanent moments, where the case has them, and induced dipoles, where atoms are polarizable."""
    if case.parameters.get("charges") is not None:
        yield from _permanent(case)
    if "polarizabilities" in case.parameters:
        yield from _polarizable(case)


def _polarizable(case: ReferenceCase) -> Iterator[Quantity]:
    interaction = MultipoleInteraction(cutoff=CUTOFF, accuracy=ACCURACY, mesh_from=MESH_FROM)
    graph = graph_of([case.atoms], interaction.neighbour_lists, torch.float64, classical=True)
    system = PolarizableSystem.of(case, interaction, excluded(case, graph))
    if case.parameters.get("charges") is not None:
        yield from induced(case, graph, system, moments_of(case, 2))
    yield from responses(case, graph, system)
    if case.results.get("scan"):
        yield from pair_scan(case, system)


def _permanent(case: ReferenceCase) -> Iterator[Quantity]:
    """Everything that permanent moments alone decide."""
    interaction = MultipoleInteraction(cutoff=CUTOFF, accuracy=ACCURACY, mesh_from=MESH_FROM)
    graph = graph_of([case.atoms], interaction.neighbour_lists, torch.float64, classical=True)
    scaling = excluded(case, graph)
    # where nothing is polarizable the total is the permanent one
    ends = PERMANENT if "polarizabilities" in case.parameters else PERMANENT | {"": 2}
    for end, rank in ends.items():
        wanted = [name for name in ("energy", "forces", "stress") if case.results.get(name + end) is not None]
        if wanted:
            result = permanent(interaction, graph, moments_of(case, rank), scaling)
            for name in wanted:
                value = result[name] if name == "forces" else result[name][0]
                yield Quantity(name + end, value, tolerance_of="forces" if name == "stress" else None)
    if case.results.get("esp_permanent") is not None:
        points = torch.tensor(case.results["esp_points"], dtype=torch.float64)
        first = torch.zeros(len(points), dtype=torch.int64)
        potential = potential_at(points, first, graph, moments_of(case, 2))
        yield Quantity("esp_permanent", potential, tolerance_of="energy")
    yield from _pairs(case, interaction, graph)


def permanent(
    interaction: MultipoleInteraction, graph: AtomicGraph, moments: Moments, scaling: PairScaling | None
) -> dict[str, Tensor]:
    """Energy, forces at fixed moments, and stress."""
    return differentiate(
        lambda moved: (interaction.bind(moved, scaling=scaling).energy(moments), {}), graph, stress=True
    )


def moments_of(case: ReferenceCase, rank: int) -> Moments:
    """The case's moments up to a rank."""
    names = ("charges", "dipoles", "quadrupoles")
    given = {name: case.parameters.get(name) for name in names[: rank + 1]}
    return Moments(**{name: _tensor(value) for name, value in given.items() if value is not None})


def excluded(case: ReferenceCase, graph: AtomicGraph) -> PairScaling | None:
    """Pairs without permanent interaction, if the case has groups."""
    groups = case.parameters.get("exclusion_groups")
    if groups is None:
        return None
    numbers = torch.full((graph.num_atoms,), -1)
    for number, group in enumerate(groups):
        numbers[torch.tensor(group)] = number
    return PairScaling.of_groups(numbers, graph)


def _pairs(case: ReferenceCase, interaction: MultipoleInteraction, graph: AtomicGraph) -> Iterator[Quantity]:
    """Two sites, each with one rank alone."""
    for key, expected in (case.results.get("pairs") or {}).items():
        result = permanent(interaction, graph, _one_rank_each(case, key), None)
        yield Quantity(f"pairs.{key}.energy", result["energy"][0], expected["energy"])
        yield Quantity(f"pairs.{key}.forces", result["forces"], expected["forces"])


def _one_rank_each(case: ReferenceCase, ranks: str) -> Moments:
    values = {}
    for rank, name in enumerate(("charges", "dipoles", "quadrupoles")):
        if case.parameters.get(name) is None:
            continue
        value = _tensor(case.parameters[name])
        here = torch.tensor([int(r) == rank for r in ranks], dtype=torch.float64)
        values[name] = value * here.reshape((-1,) + (1,) * (value.dim() - 1))
    return Moments(**values)


def _tensor(value: Any) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)
