"""Topic ``coulomb``: point and Gaussian charges, open, in slabs and periodic; Wolf's sum, damped shifted force."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.derivatives import differentiate
from eqff.longrange.interaction import Interaction, LatticeInteraction
from eqff.longrange.kernels import GaussianKernel, PointKernel
from eqff.longrange.shifted import PairInteraction
from eqff.testing.graphs import graph_of
from eqff.testing.reference.case import Quantity, ReferenceCase
from eqff.units import COULOMB_CONSTANT

CUTOFF, ACCURACY, MESH_FROM = 10.0, 1e-14, 10**6


def quantities(case: ReferenceCase) -> Iterator[Quantity]:
    """Every result of the case that is the derivative of an energy."""
    charges = torch.tensor(case.parameters["charges"], dtype=torch.float64)
    widths = case.parameters.get("gaussian_widths")
    widths = None if widths is None else torch.tensor(widths, dtype=torch.float64)
    interaction = _interaction(case, widths)
    graph = graph_of([case.atoms], interaction.neighbour_lists, torch.float64, classical=True)
    result = differentiate(partial(_energy, interaction, charges, widths), graph, stress=True)
    suffix = "_no_exclusions" if "excluded_pairs" in case.parameters else ""
    for name in ("energy", "forces", "stress"):
        if f"{name}{suffix}" in case.results:
            value = result[name][0] if name != "forces" else result[name]
            yield Quantity(f"{name}{suffix}", value, tolerance_of=name if name in case.tolerance else "forces")
    if "potential" in case.results:
        yield Quantity("potential", result["potential"], tolerance_of="energy")
    if suffix:
        yield from _without_excluded(case, charges, result, graph)
    if widths is not None:
        yield from _with_self(case, charges, widths, result["energy"][0])
    if "kernel_matrix_inv_A" in case.results:
        matrix = _interaction(case, widths, include_self=True).bind(graph, widths).matrix()[0][0]
        yield Quantity("kernel_matrix_inv_A", matrix / COULOMB_CONSTANT, tolerance_of="energy")


def _interaction(case: ReferenceCase, widths: Tensor | None, include_self: bool = False) -> Interaction:
    parameters = case.parameters
    if parameters.get("method") in ("wolf", "dsf"):
        return PairInteraction(parameters["cutoff"], parameters["alpha_inv_A"], parameters["method"] == "dsf")
    if widths is None:
        return LatticeInteraction(PointKernel(), CUTOFF, ACCURACY, MESH_FROM)
    kernel = GaussianKernel()
    cutoff = max(CUTOFF, 1.06 * kernel.extent(widths, ACCURACY))
    return LatticeInteraction(kernel, cutoff, ACCURACY, MESH_FROM, include_self)


def _energy(
    interaction: Interaction, charges: Tensor, widths: Tensor | None, graph: AtomicGraph
) -> tuple[Tensor, dict[str, Tensor]]:
    bound = interaction.bind(graph, widths)
    return bound.energy(charges), {"potential": bound.potential(charges)}


def _without_excluded(
    case: ReferenceCase, charges: Tensor, result: dict[str, Tensor], graph: AtomicGraph
) -> Iterator[Quantity]:
    """The excluded pairs, which lie in one image, interact as in an open structure: that is taken away."""
    first, second = torch.tensor(case.parameters["excluded_pairs"], dtype=torch.int64).reshape(-1, 2).T
    vectors = graph.positions[first] - graph.positions[second]
    lengths = torch.linalg.vector_norm(vectors, dim=1)
    pairs = COULOMB_CONSTANT * charges[first] * charges[second] / lengths
    each = (pairs / lengths**2)[:, None] * vectors
    forces = result["forces"].index_add(0, first, -each).index_add(0, second, each)
    yield Quantity("energy", result["energy"][0] - pairs.sum())
    yield Quantity("forces", forces)


def _with_self(case: ReferenceCase, charges: Tensor, widths: Tensor, energy: Tensor) -> Iterator[Quantity]:
    own = GaussianKernel().self_interaction(widths)
    yield Quantity("energy_with_self", energy + 0.5 * COULOMB_CONSTANT * (own * charges.square()).sum())
