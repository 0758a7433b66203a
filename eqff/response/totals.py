"""Dipole and quadrupole of whole structures from the moments of their atoms, about a stated origin.

Quadrupoles are Buckingham's traceless Theta = 1/2 sum q (3 r r - r²) [Buckingham, Adv. Chem. Phys. 12, 107 (1967)].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from ase.data import atomic_masses
from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.errors import ConfigError, did_you_mean
from eqff.longrange.multipoles.moments import Moments, traceless
from eqff.nn.reduce import segment_sum

Origin = Literal["coordinates", "center_of_mass", "center_of_nuclear_charge"]


def _none(graph: AtomicGraph) -> Tensor:
    return torch.zeros(graph.num_structures, 3, dtype=torch.float64, device=graph.positions.device)


def _weighted(graph: AtomicGraph, weights: Tensor) -> Tensor:
    sums = segment_sum(weights[:, None] * graph.positions.to(torch.float64), graph.batch, graph.num_structures)
    return sums / segment_sum(weights, graph.batch, graph.num_structures)[:, None]


def _center_of_mass(graph: AtomicGraph) -> Tensor:
    masses = torch.as_tensor(atomic_masses, dtype=torch.float64, device=graph.positions.device)
    return _weighted(graph, masses[graph.numbers])


def _center_of_nuclear_charge(graph: AtomicGraph) -> Tensor:
    return _weighted(graph, graph.numbers.to(torch.float64))


_ORIGINS: dict[str, Callable[[AtomicGraph], Tensor]] = dict(
    zip(get_args(Origin), (_none, _center_of_mass, _center_of_nuclear_charge), strict=True)
)


def origins(graph: AtomicGraph, rule: Origin) -> Tensor:
    """The point in Å that moments of each structure are taken about, (B, 3) float64.

    Args:
        graph: The batch.
        rule: "coordinates" for their origin, which moments of ions depend on; "center_of_mass" (standard masses) or
            "center_of_nuclear_charge" for points that move with the structure.

    Raises:
        ConfigError: Another rule.
    """
    if rule not in _ORIGINS:
        raise ConfigError(f"There is no origin '{rule}'.{did_you_mean(rule, _ORIGINS)}")
    return _ORIGINS[rule](graph)


def total_dipole(graph: AtomicGraph, moments: Moments, about: Tensor | None = None) -> Tensor:
    """sum q (r - o) + mu in e·Å, (B, 3) float64.

    Args:
        graph: The batch; of periodic structures the images that are given count.
        moments: Of its atoms.
        about: o in Å, (B, 3); None for the origin of the coordinates.
    """
    rows = _rows(moments, _places(graph, about))
    return segment_sum(rows, graph.batch, graph.num_structures)


def total_quadrupole(graph: AtomicGraph, moments: Moments, about: Tensor | None = None) -> Tensor:
    """sum 1/2 q (3 r r - r²) + 3/2 (r mu + mu r) - r·mu + Theta in e·Å², (B, 3, 3) float64, r from o.

    Arguments as for `total_dipole`.
    """
    places = _places(graph, about)
    # 1/2 q (3 r r - r²) + 3/2 (r mu + mu r) - r·mu is 3 times the symmetric traceless part of r (q r / 2 + mu)
    rows = _rows(moments, 0.5 * places)
    outer = 3.0 * traceless(places[:, :, None] * rows[:, None, :])
    if moments.quadrupoles is not None:
        outer = outer + moments.quadrupoles.to(torch.float64)
    return segment_sum(outer, graph.batch, graph.num_structures)


def _places(graph: AtomicGraph, about: Tensor | None) -> Tensor:
    # atoms far from the origin contribute large values that cancel
    places = graph.positions.to(torch.float64)
    return places if about is None else places - about.to(torch.float64)[graph.batch]


def _rows(moments: Moments, places: Tensor) -> Tensor:
    """q r + mu, (N, 3)."""
    rows = torch.zeros_like(places)
    if moments.charges is not None:
        rows = rows + moments.charges.to(torch.float64)[:, None] * places
    if moments.dipoles is not None:
        rows = rows + moments.dipoles.to(torch.float64)
    return rows
