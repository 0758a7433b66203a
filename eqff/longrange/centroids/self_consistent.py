"""Wannier centroids that follow the effective field which they make together, found by Newton's method."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.longrange.centroids.fields import CentroidFields
from eqff.longrange.centroids.implicit import WHAT, EffectiveField, Linearised
from eqff.longrange.convergence import Convergence, Failure, refuse
from eqff.longrange.induction.implicit import LocalField, StationaryEnergy
from eqff.longrange.induction.polarizabilities import respond
from eqff.nn.reduce import segment_sum
from eqff.units import COULOMB_CONSTANT


@dataclass(frozen=True)
class CentroidSolver:
    """How far iterations go.

    Attributes:
        tolerance: Of √(r·alpha r), where r is the effective field less the one that centroids follow; relative to what
            it is for centroids that don't respond.
        max_iterations: Newton steps, after which they have failed.
        failed: What is done then.
    """

    tolerance: float = 1e-8
    max_iterations: int = 20
    failed: Failure = refuse


@dataclass(frozen=True)
class SelfConsistentCentroids:
    """d = d0 + alpha e / (k_e q) in the effective field e that all charges make while centroids are there.

    e is where U(e) = sum e·alpha e / 2 k_e + (energy of the charges, with centroids at d) is stationary, least if the
    polarizabilities are not too large; so U's derivatives need none of e. As alpha is never inverted, it may be zero.

    Attributes:
        graph: The batch.
        fields: Of the charges.
        solver: How far iterations go.
        convergence: Of the solution, once it has been found.
    """

    graph: AtomicGraph
    fields: CentroidFields
    solver: CentroidSolver
    convergence: list[Convergence] = field(default_factory=list)

    def effective_field(self, alpha: Tensor, start: Tensor, positions: Tensor, cell: Tensor, outside: Tensor) -> Tensor:
        """e in V/Å, (N, 3), differentiable to any order; zero where there is no centroid.

        Args:
            alpha: Polarizabilities in Å³, (N, 3, 3).
            start: d0, displacements without the field, Å, (N, 3).
            positions: Å, (N, 3).
            cell: Å, (B, 3, 3).
            outside: Uniform field, V/Å, (B, 3). All are float64.

        Raises:
            ModelError: There is no stable solution, or (unless the solver goes on) none was found.
        """
        return EffectiveField.apply(self, alpha, start, positions, cell, outside)

    def energy_at(self, local: Tensor, outside: Tensor, *others: Tensor) -> Tensor:
        """U in eV, (B,), at the e that `effective_field` gave for these arguments (alpha, start, positions, cell)."""
        return StationaryEnergy.apply(self, local, outside, *others)

    def displacements(self, local: Tensor, alpha: Tensor, start: Tensor) -> Tensor:
        """d in Å, (N, 3)."""
        return start + respond(alpha, local) * self.fields.inverse

    def energy(
        self, local: Tensor, outside: Tensor, alpha: Tensor, start: Tensor, positions: Tensor, cell: Tensor
    ) -> Tensor:
        """U in eV, (B,), of any e."""
        atoms = 0.5 * (local * respond(alpha, local)).sum(dim=1)
        own = segment_sum(atoms, self.graph.batch, self.graph.num_structures)
        return own + self.fields.energy(self.displacements(local, alpha, start), positions, cell, outside)

    def linearised(
        self, alpha: Tensor, displacements: Tensor, positions: Tensor, cell: Tensor, outside: Tensor
    ) -> Linearised:
        """The problem around some displacements."""
        effective, change = self.fields.tangent(displacements, positions, cell, outside)
        return Linearised(self, alpha.detach(), effective, change)

    def polarizability(self, local: Tensor, outside: Tensor, *others: Tensor) -> Tensor:
        """k_e d mu_a / d F_b of each structure, Å³, (B, 3, 3), where ions don't move; differentiable to any order.

        Arguments are those of `energy_at`.
        """
        alpha, start, *geometry = others
        place = (self.displacements(local, alpha, start), *geometry)
        tangent = self.linearised(alpha, *place, outside)
        held = (self.fields.inverse != 0).to(local.dtype)
        columns = []
        for direction in COULOMB_CONSTANT * torch.eye(3, dtype=local.dtype, device=local.device):
            columns.append(respond(alpha, LocalField.apply(tangent, held * direction, alpha, *place)))
        total = segment_sum(torch.stack(columns, dim=2), self.graph.batch, self.graph.num_structures)
        return 0.5 * (total + total.transpose(1, 2))  # symmetric but for what the solution leaves

    def solve(self, alpha: Tensor, start: Tensor, positions: Tensor, cell: Tensor, outside: Tensor) -> Tensor:
        """e without derivatives, and how it was found."""

        def around(local: Tensor) -> Linearised:
            return self.linearised(alpha, self.displacements(local, alpha, start), positions, cell, outside)

        this = self.graph.solves.next(WHAT)
        local = torch.zeros_like(start)
        here = around(local)
        scale = self._size(here.effective, alpha)
        guess = this.start_for(local)
        if guess is not None:
            better = self._size(around(guess).effective - guess, alpha) < scale
            local = torch.where(better[self.graph.batch][:, None], guess, local)
            here = around(local)
        each = torch.zeros(self.graph.num_structures, dtype=torch.int64, device=start.device)
        for iteration in range(self.solver.max_iterations + 1):
            residual = here.effective - local
            left = self._size(residual, alpha)
            active = ~(left <= self.solver.tolerance * scale)  # NaN has not converged
            if iteration == self.solver.max_iterations or not bool(active.any()):
                break
            each = each + active
            local = local + here.step(torch.where(active[self.graph.batch][:, None], residual, 0.0))
            here = around(local)
        this.end(local)
        told = Convergence(iteration, left / scale.clamp(min=torch.finfo(scale.dtype).tiny), each)
        self.convergence.append(told)
        self._require(told, ~active)
        return local

    def _size(self, fields: Tensor, alpha: Tensor) -> Tensor:
        """√(r·alpha r / k_e) of each structure, (B,)."""
        squares = (fields * respond(alpha, fields)).sum(dim=1)
        return segment_sum(squares, self.graph.batch, self.graph.num_structures).clamp(min=0).sqrt()

    def _require(self, told: Convergence, converged: Tensor) -> None:
        if bool(converged.all()):
            return
        worst = int(told.residual.argmax())
        self.solver.failed(
            f"{WHAT} of structure {worst} of the batch: {told.iterations} steps of Newton's method left a residual of "
            f"{float(told.residual[worst]):.1e}; the goal is {self.solver.tolerance:.1e} ({int((~converged).sum())} of "
            f"{len(converged)} structures are above it). Raise max_iterations or the tolerance."
        )
