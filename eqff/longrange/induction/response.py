"""Polarizabilities of whole structures from those of their atoms."""

from __future__ import annotations

import torch
from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.longrange.induction.mutual import InductionSolver, MutualInduction, induced_damping
from eqff.longrange.induction.polarizabilities import require_positive, respond
from eqff.longrange.multipoles.interaction import MultipoleInteraction
from eqff.nn.reduce import segment_sum
from eqff.units import COULOMB_CONSTANT


def additive_polarizability(graph: AtomicGraph, polarizabilities: Tensor) -> Tensor:
    """sum_i alpha_i in Å³, (B, 3, 3), from (N, 3, 3)."""
    return segment_sum(polarizabilities.to(torch.float64), graph.batch, graph.num_structures)


def interacting_polarizability(
    graph: AtomicGraph,
    interaction: MultipoleInteraction,
    polarizabilities: Tensor,
    strength: Tensor | float,
    solver: InductionSolver,
) -> Tensor:
    """The polarizability of structures whose atoms polarize each other, Å³, (B, 3, 3).

    [Applequist et al., J. Am. Chem. Soc. 94, 2952 (1972); Thole, Chem. Phys. 59, 341 (1981)]. Of a periodic structure,
    its dipole by the macroscopic field.

    Args:
        graph: The batch.
        interaction: How the fields of dipoles are summed.
        polarizabilities: alpha in Å³, (N, 3, 3).
        strength: Thole's a, (N,) or one number.
        solver: Of three linear systems with one matrix.

    Raises:
        ModelError: Polarizabilities that are none, a polarization catastrophe, or no convergence.
    """
    response = atomic_response(graph, interaction, polarizabilities, strength, solver)
    total = segment_sum(response, graph.batch, graph.num_structures)
    return 0.5 * (total + total.transpose(1, 2))  # symmetric but for what the solution leaves


def atomic_response(
    graph: AtomicGraph,
    interaction: MultipoleInteraction,
    polarizabilities: Tensor,
    strength: Tensor | float,
    solver: InductionSolver,
) -> Tensor:
    """k_e d mu_a / d E_b for the dipole of each atom in a uniform field, Å³, [i, a, b], (N, 3, 3).

    As `interacting_polarizability`, which is its sum.
    """
    alpha = polarizabilities.to(torch.float64)
    require_positive(alpha, graph.batch)
    strengths = torch.as_tensor(strength, dtype=alpha.dtype, device=alpha.device).expand(graph.num_atoms)
    bound = interaction.bind(graph, induced_damping(alpha, strengths), rank=1)
    problem = MutualInduction(bound, alpha, strengths, solver)
    columns = []
    for direction in COULOMB_CONSTANT * torch.eye(3, dtype=alpha.dtype, device=alpha.device):
        local = problem.local_field(direction.expand(graph.num_atoms, 3))
        columns.append(respond(alpha, local))
    return torch.stack(columns, dim=2)
