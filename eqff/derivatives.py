"""The one place where an energy is differentiated: forces, virial and stress of every term, short or long range."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from eqff.data.external import EXTERNAL_FORCES, EXTERNAL_POTENTIAL
from eqff.data.graph import AtomicGraph
from eqff.errors import ModelError

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
        The other fields, and energy (B,), forces (N, 3), and with ``stress`` virial and stress (B, 3, 3); among
        external charges also external_forces (M, 3) and potential_at_external (M,).

    Raises:
        ModelError: See `require_derivatives`.
    """
    require_derivatives()
    with torch.enable_grad():
        leaves = {"positions": graph.positions.detach().requires_grad_()}
        strain, external = None, graph.external
        if stress:
            strain = leaves["strain"] = _no_strain(graph).requires_grad_()
        if external is not None:
            names = ("positions", "charges")
            outside = {name: getattr(external, name).detach().requires_grad_() for name in names}
            external = replace(external, **outside)
            leaves |= {f"external_{name}": leaf for name, leaf in outside.items()}
        energy, fields = energy_function(graph.deformed(leaves["positions"], strain, external))
        inputs = list(leaves.values())
        gradients = tuple(torch.zeros_like(value) for value in inputs)
        if energy.requires_grad:  # not where no term depends on positions, as of charges in no field
            gradients = torch.autograd.grad(energy.sum(), inputs, create_graph=create_graph)
    if not create_graph:
        energy, fields = energy.detach(), {name: value.detach() for name, value in fields.items()}
    return fields | {"energy": energy} | _named(dict(zip(leaves, gradients, strict=True)), graph)


def require_derivatives() -> None:
    """Raises ModelError in PyTorch's inference mode, where nothing has derivatives and forces would be zero."""
    if torch.is_inference_mode_enabled():
        raise ModelError(
            "Forces are derivatives, and torch.inference_mode() allows none. Take torch.no_grad() instead, or ask for "
            "energies alone (forces=False)."
        )


def _no_strain(graph: AtomicGraph) -> Tensor:
    return torch.zeros(graph.num_structures, 3, 3, dtype=graph.positions.dtype, device=graph.positions.device)


def _named(slopes: Mapping[str, Tensor], graph: AtomicGraph) -> dict[str, Tensor]:
    """Derivatives of the energy by their names as fields."""
    named = {"forces": -slopes["positions"]}
    if "strain" in slopes:
        volume = graph.volume[:, None, None]
        # a structure without a volume has the stress of an infinitely large cell
        named["stress"] = torch.where(volume > 0, slopes["strain"] / volume.clamp(min=1e-12), 0.0)
        named["virial"] = -slopes["strain"]
    if "external_positions" in slopes:
        named[EXTERNAL_FORCES] = -slopes["external_positions"]
        named[EXTERNAL_POTENTIAL] = slopes["external_charges"]
    return named
