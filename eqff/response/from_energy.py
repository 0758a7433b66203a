"""Dipole, polarizability and Born charges as derivatives of the energy by a uniform field."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.potential import Potential
from eqff.units import COULOMB_CONSTANT


@dataclass(frozen=True)
class EnergyResponse:
    """Derivatives of the energies of a batch, in the field that its graph has.

    Attributes:
        energy: eV, (B,) float64.
        dipole: -dE/dF in e·Å, (B, 3).
        polarizability: -k_e d²E/dF² in Å³, (B, 3, 3).
        born_charges: -d²E/dr_a dF_b in e, (N, 3, 3): what a field adds to forces.
    """

    energy: Tensor
    dipole: Tensor
    polarizability: Tensor
    born_charges: Tensor


def energy_response(potential: Potential, graph: AtomicGraph) -> EnergyResponse:
    """First and second derivatives of the energy by a uniform field, and by field and positions.

    Args:
        potential: A model whose energy follows from ``electric_field``.
        graph: Structures with the model's neighbour lists; open ones, unless induced dipoles alone feel the field.

    Raises:
        ModelError: The energy does not follow from the field, or charges of a periodic structure would feel it.
    """
    potential.field_guard.require()
    potential.require_elements(graph.numbers)
    with torch.enable_grad():
        field = graph.electric_field.detach().to(torch.float64).requires_grad_()
        positions = graph.positions.detach().requires_grad_()
        moved = replace(graph.deformed(positions), electric_field=field)
        energy, _ = potential.energy(moved)
        (slope,) = torch.autograd.grad(energy.sum(), field, create_graph=True)
        rows = [_second(slope[:, b].sum(), field, positions) for b in range(3)]
    by_field, by_positions = zip(*rows, strict=True)
    return EnergyResponse(
        energy=energy.detach(),
        dipole=-slope.detach(),
        polarizability=-COULOMB_CONSTANT * torch.stack(by_field, dim=2),
        born_charges=-torch.stack(by_positions, dim=2),
    )


def _second(slope: Tensor, field: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
    if not slope.requires_grad:  # linear in the field, with moments that are the same everywhere
        return torch.zeros_like(field), torch.zeros_like(positions)
    found = torch.autograd.grad(slope, (field, positions), retain_graph=True, allow_unused=True, materialize_grads=True)
    return found[0], found[1]
