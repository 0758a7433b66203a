"""Charges that minimise an electrostatic energy over a whole structure: QEq with any Coulomb interaction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.errors import ModelError
from eqff.longrange.conjugate_gradient import ConjugateGradient, Convergence, solve_implicitly
from eqff.longrange.dense import minimize_dense
from eqff.longrange.interaction import BoundInteraction, Interaction
from eqff.nn.reduce import segment_sum

WHAT = "The charge equilibration"


@dataclass(frozen=True)
class Equilibrated:
    """The result.

    Attributes:
        charges: e, float64, (N,).
        energy: sum of chi q + J q²/2, and Coulomb, in eV, (B,).
        convergence: Of the iterations, empty for a direct solve.
    """

    charges: Tensor
    energy: Tensor
    convergence: list[Convergence]


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
        field: Uniform external field in V/Å, (B, 3), which turns chi into chi - field·r; open structures only. The
            energy of an ion in it depends on the origin.
        iterative: Conjugate gradients instead of a factorisation.
        tolerance: Relative residual of the iterations.
        max_iterations: Of the iterations.

    Raises:
        ModelError: There is no minimum, no convergence, or a field acts on a periodic structure.
    """
    double = [None if value is None else value.to(torch.float64) for value in (electronegativity, hardness, widths)]
    chi, hardness, widths = double
    chi = in_field(graph, chi, field)
    totals = (graph.total_charge if totals is None else totals).to(torch.float64)
    bound = interaction.bind(graph, widths)
    if iterative:
        charges, told = _iterative(graph, interaction, bound, chi, hardness, widths, totals, tolerance, max_iterations)
    else:
        matrix, padding = bound.matrix()
        matrix = matrix + torch.diag_embed(padding.gather(hardness))
        charges, told = minimize_dense(matrix, chi, totals, padding, WHAT), []
    # what rounding of many steps has lost; it depends on nothing
    lost = (totals - segment_sum(charges, graph.batch, graph.num_structures)).detach()
    charges = charges + evenly(graph, lost)
    atoms = chi * charges + 0.5 * hardness * charges.square()
    energy = segment_sum(atoms, graph.batch, graph.num_structures) + bound.energy(charges)
    return Equilibrated(charges, energy, told)


def in_field(graph: AtomicGraph, electronegativity: Tensor, field: Tensor | None) -> Tensor:
    """chi - field·r in V, (N,), for a uniform field in V/Å, (B, 3), or None for none.

    Raises:
        ModelError: A structure is periodic: there the potential of a uniform field is not.
    """
    if field is None:
        return electronegativity
    periodic = graph.pbc.any(dim=1)
    if bool(periodic.any()):
        raise ModelError(
            f"Structure {int(periodic.nonzero()[0])} of the batch is periodic, but a uniform field's potential is not: "
            "fields act on open structures only."
        )
    along = (field.to(torch.float64)[graph.batch] * graph.positions.to(torch.float64)).sum(dim=1)
    return electronegativity - along


def evenly(graph: AtomicGraph, totals: Tensor) -> Tensor:
    """``totals`` (B,) shared out evenly over the atoms of each structure, (N,)."""
    counts = torch.bincount(graph.batch, minlength=graph.num_structures).clamp(min=1)
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
        moved = replace(self.graph, cell=cell).deformed(positions)
        bound = self.interaction.bind(moved, widths if widths.numel() else None)
        return lambda x: bound.potential(x) + hardness * x


def _iterative(
    graph: AtomicGraph,
    interaction: Interaction,
    bound: BoundInteraction,
    chi: Tensor,
    hardness: Tensor,
    widths: Tensor | None,
    totals: Tensor,
    tolerance: float,
    max_iterations: int,
) -> tuple[Tensor, list[Convergence]]:
    matrix = HardnessAndCoulomb(graph, interaction)
    # own interactions through waves are about alpha's; the exact diagonal is not worth forming
    diagonal = (hardness + bound.diagonal).detach()
    lowest = diagonal[diagonal > 0].min() if bool((diagonal > 0).any()) else torch.ones((), dtype=diagonal.dtype)
    solver = ConjugateGradient(
        graph.batch, graph.num_structures, 1 / diagonal.clamp(min=float(lowest)), tolerance, max_iterations, WHAT
    )
    start = evenly(graph, totals)
    right = -chi - hardness * start - bound.potential(start)
    step, told = solve_implicitly(right, matrix.product, matrix.tensors(hardness, widths), solver, matrix.prepare)
    return start + step, told
