"""Charges that minimise an electrostatic energy over a whole structure: QEq with any Coulomb interaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.longrange.conjugate_gradient import ConjugateGradient, solve_implicitly
from eqff.longrange.convergence import Convergence, Failure, refuse
from eqff.longrange.dense import minimize_dense
from eqff.longrange.interaction import BoundInteraction, Interaction
from eqff.nn.reduce import segment_sum
from eqff.response.external_field import acting_field

WHAT = "The charge equilibration"


@dataclass(frozen=True)
class Equilibrated:
    """The result.

    Attributes:
        charges: e, float64, (N,).
        energy: sum of chi q + J q²/2, and Coulomb, in eV, (B,).
        convergence: Of the iterations, empty for a direct solve.
        others: Fields of atoms that are equilibrated together with the charges, by name, (N,) each.
    """

    charges: Tensor
    energy: Tensor
    convergence: list[Convergence]
    others: Mapping[str, Tensor] = field(default_factory=dict)


def equilibrate(
    graph: AtomicGraph,
    interaction: Interaction,
    electronegativity: Tensor,
    hardness: Tensor,
    widths: Tensor | None = None,
    *,
    totals: Tensor | None = None,
    field: Tensor | None = None,
    iterative: bool = False,
    tolerance: float = 1e-10,
    max_iterations: int = 500,
    failed: Failure = refuse,
    start: Tensor | None = None,
) -> Equilibrated:
    """The charges with least sum_i (chi_i q_i + J_i q_i²/2) + 1/2 q·A·q under sum q = Q.

    [Rappe and Goddard, J. Phys. Chem. 95, 3358 (1991); with Gaussian charges Ghasemi et al., Phys. Rev. B 92, 045131
    (2015)]. Charges and energy are differentiable to any order, through the solution and not its iterations.

    Args:
        graph: The batch.
        interaction: What A is.
        electronegativity: chi in V, (N,).
        hardness: J in eV/e² without what a charge does to itself, (N,).
        widths: Of the charges, Å, (N,), if the interaction asks for them.
        totals: Q in e, (B,); by default the structures' total charges.
        field: Uniform external field in V/Å, (B, 3), which turns chi into chi - field·r; by default the structures'
            own. The energy of an ion in it depends on the origin.
        iterative: Conjugate gradients instead of a factorisation; always where a structure is summed on a mesh.
        tolerance: Relative residual of the iterations.
        max_iterations: Of the iterations.
        failed: What is done if they don't converge.
        start: Charges in e, (N,), with which iterations begin; what they miss of the totals is shared evenly. By
            default what ``graph.solves`` expects. The result does not depend on it beyond the tolerance.

    Raises:
        ModelError: There is no minimum, no convergence, or a field acts along a lattice vector.
    """
    double = [None if value is None else value.to(torch.float64) for value in (electronegativity, hardness, widths)]
    chi, hardness, widths = double
    chi = in_field(graph, chi, field)
    totals = (graph.total_charge if totals is None else totals).to(torch.float64)
    bound = interaction.bind(graph, widths)
    if iterative or not bound.has_matrix:
        solver = _solver(graph, bound, hardness, tolerance, max_iterations, failed)
        matrix = HardnessAndCoulomb(graph, interaction)
        charges, told = _iterative(matrix, bound, chi, hardness, widths, totals, solver, start)
    else:
        matrix, padding = bound.matrix()
        matrix = matrix + torch.diag_embed(padding.gather(hardness))
        charges, told = minimize_dense(matrix, chi, totals, padding, graph.batch, WHAT), []
    # what rounding of many steps has lost; it depends on nothing
    lost = (totals - segment_sum(charges, graph.batch, graph.num_structures)).detach()
    charges = charges + evenly(graph, lost)
    atoms = chi * charges + 0.5 * hardness * charges.square()
    energy = segment_sum(atoms, graph.batch, graph.num_structures) + bound.energy(charges)
    return Equilibrated(charges, energy, told)


def in_field(graph: AtomicGraph, electronegativity: Tensor, field: Tensor | None) -> Tensor:
    """chi - field·r in V, (N,), for a uniform field in V/Å, (B, 3), or None for that of the graph.

    Raises:
        ModelError: A field acts along a lattice vector: there the potential of a uniform field is not periodic.
    """
    field = acting_field(graph if field is None else replace(graph, electric_field=field))
    if field is None:
        return electronegativity
    return electronegativity - (field[graph.batch] * graph.positions.to(torch.float64)).sum(dim=1)


def evenly(graph: AtomicGraph, totals: Tensor) -> Tensor:
    """``totals`` (B,) shared out evenly over the atoms of each structure, (N,)."""
    counts = segment_sum(torch.ones_like(graph.batch), graph.batch, graph.num_structures).clamp(min=1)
    return (totals / counts)[graph.batch]


@dataclass(frozen=True)
class HardnessAndCoulomb:
    """M = A + diag(J) of a batch as a function of all that it depends on, for solvers that only apply it.

    Attributes:
        graph: The batch.
        interaction: What A is.
    """

    graph: AtomicGraph
    interaction: Interaction

    def tensors(self, hardness: Tensor, widths: Tensor | None) -> tuple[Tensor, ...]:
        """What M depends on, as the other methods take it."""
        return self.graph.positions, self.graph.cell, hardness, hardness.new_zeros(0) if widths is None else widths

    def product(self, x: Tensor, positions: Tensor, cell: Tensor, hardness: Tensor, widths: Tensor) -> Tensor:
        """M x, (N,)."""
        return self.prepare(positions, cell, hardness, widths)(x)

    def prepare(self, positions: Tensor, cell: Tensor, hardness: Tensor, widths: Tensor) -> Callable[[Tensor], Tensor]:
        """The product with M, with what does not depend on x computed once."""
        edges = {name: self.graph.edges[name] for name in self.interaction.neighbour_lists}
        moved = replace(self.graph, cell=cell, edges=edges).deformed(positions)
        bound = self.interaction.bind(moved, widths if widths.numel() else None)
        return lambda x: bound.potential(x) + hardness * x


def _solver(
    graph: AtomicGraph,
    bound: BoundInteraction,
    hardness: Tensor,
    tolerance: float,
    max_iterations: int,
    failed: Failure,
) -> ConjugateGradient:
    # own interactions through waves are about alpha's; the exact diagonal is not worth forming
    diagonal = (hardness + bound.diagonal).detach()
    lowest = diagonal[diagonal > 0].min() if bool((diagonal > 0).any()) else torch.ones((), dtype=diagonal.dtype)
    preconditioner = 1 / diagonal.clamp(min=float(lowest))
    return ConjugateGradient(graph.batch, graph.num_structures, preconditioner, tolerance, max_iterations, WHAT, failed)


def _iterative(
    matrix: HardnessAndCoulomb,
    bound: BoundInteraction,
    chi: Tensor,
    hardness: Tensor,
    widths: Tensor | None,
    totals: Tensor,
    solver: ConjugateGradient,
    start: Tensor | None,
) -> tuple[Tensor, list[Convergence]]:
    even = evenly(matrix.graph, totals)
    right = -chi - hardness * even - bound.potential(even)
    first = None if start is None else start.detach().to(torch.float64)  # less its mean: even charges are taken out
    tensors = matrix.tensors(hardness, widths)
    solves = matrix.graph.solves
    step, told = solve_implicitly(right, matrix.product, tensors, solver, matrix.prepare, first, solves)
    return even + step, told
