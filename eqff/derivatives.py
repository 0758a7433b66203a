"""The one place where an energy is differentiated: forces, virial and stress of every term, short or long range."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from eqff.data.graph import AtomicGraph

EnergyFunction = Callable[[AtomicGraph], tuple[Tensor, dict[str, Tensor]]]


def differentiate(
    energy_function: EnergyFunction, graph: AtomicGraph, *, stress: bool = False, create_graph: bool = False
) -> dict[str, Tensor]:
    """Energy, forces and (on demand) virial and stress by reverse-mode automatic differentiation.

    Args:
        energy_function: From a graph to energies (B,) in eV and other fields.
        graph: Its positions need not require gradients.
        stress: Also differentiate by a strain of positions and cell.
        create_graph: Keep the graph, so that a loss on the results can be differentiated again.

    Returns:
        The other fields, and energy (B,), forces (N, 3), and with ``stress`` virial and stress (B, 3, 3).
    """
    with torch.enable_grad():
        positions = graph.positions.detach().requires_grad_()
        strain = _no_strain(graph).requires_grad_() if stress else None
        energy, fields = energy_function(graph.deformed(positions, strain))
        inputs = [positions] if strain is None else [positions, strain]
        gradients = tuple(torch.zeros_like(value) for value in inputs)
        if energy.requires_grad:  # not where no term depends on positions, as of charges in no field
            gradients = torch.autograd.grad(energy.sum(), inputs, create_graph=create_graph)
    if not create_graph:
        energy, fields = energy.detach(), {name: value.detach() for name, value in fields.items()}
    return fields | {"energy": energy} | _named(gradients, graph)


def _no_strain(graph: AtomicGraph) -> Tensor:
    return torch.zeros(graph.num_structures, 3, 3, dtype=graph.positions.dtype, device=graph.positions.device)


def _named(gradients: tuple[Tensor, ...], graph: AtomicGraph) -> dict[str, Tensor]:
    named = {"forces": -gradients[0]}
    if len(gradients) == 2:
        volume = graph.volume[:, None, None]
        # a structure without a volume has the stress of an infinitely large cell
        named["stress"] = torch.where(volume > 0, gradients[1] / volume.clamp(min=1e-12), 0.0)
        named["virial"] = -gradients[1]
    return named
