"""Converged mutual induction of a batch, differentiable to any order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.longrange.conjugate_gradient import Convergence, require_finite
from eqff.longrange.induction.catastrophe import CoupledPairs
from eqff.longrange.induction.dense import FactorisedInduction
from eqff.longrange.induction.implicit import LocalField, StationaryEnergy
from eqff.longrange.induction.polarizabilities import respond
from eqff.longrange.induction.preconditioner import near_field
from eqff.longrange.multipoles.bound import BoundMultipoles
from eqff.longrange.multipoles.damping import TholeDamping, isotropic
from eqff.longrange.multipoles.leaves import differentiable_tensors, with_tensors
from eqff.longrange.transfer_iterations import TransferIterations
from eqff.nn.reduce import segment_sum

WHAT = "The induction"

Solve = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class InductionSolver:
    """How the linear system is solved.

    Attributes:
        tolerance: Relative residual √(r·alpha r) of conjugate gradients.
        max_iterations: No convergence within them is an error.
        dense_up_to: Atoms of the largest structure of a batch up to which matrices are factorised, which has no
            tolerance; none are where a structure is summed on a mesh.
    """

    tolerance: float = 1e-8
    max_iterations: int = 200
    dense_up_to: int = 150


@dataclass(frozen=True)
class MutualInduction:
    """The local fields of a batch as functions of the external field, of alpha and of how dipoles interact.

    Attributes:
        bound: The interaction of the dipoles, damped; derivatives by positions, cell and Thole's a go through it.
        polarizabilities: alpha, Å³, (N, 3, 3) float64.
        strength: Thole's a, (N,) float64.
        solver: How the system is solved.
        start: Local fields (N, 3) in V/Å with which iterations begin; by default what the graph's ``solves`` expect.
        convergence: Of iterations as they are made, those of derivatives too.
    """

    bound: BoundMultipoles
    polarizabilities: Tensor
    strength: Tensor
    solver: InductionSolver
    start: Tensor | None = None
    convergence: list[Convergence] = field(default_factory=list)
    _prepared: list[Solve] = field(default_factory=list)

    @property
    def graph(self) -> AtomicGraph:
        """The batch."""
        return self.bound.graph

    def local_field(self, external: Tensor) -> Tensor:
        """e = E + T mu with mu = alpha e / k_e, V/Å, (N, 3).

        Args:
            external: E, what all but induced dipoles make at each atom, V/Å, (N, 3) float64.

        Raises:
            ModelError: A polarization catastrophe, or no convergence.
        """
        return LocalField.apply(self, external, self.polarizabilities, *self._geometry())

    def energy_at(self, local: Tensor, external: Tensor) -> Tensor:
        """-1/2 sum mu·E in eV, (B,), at the ``local`` field that `local_field` gave for the rest.

        Computed as e·alpha e / 2 k_e - mu·T mu / 2 - mu·E, of which the local field is a stationary point: an error of
        the solution enters squared, and forces need no further solve.
        """
        return StationaryEnergy.apply(self, local, external, self.polarizabilities, *self._geometry())

    def field(self, dipoles: Tensor, *geometry: Tensor) -> Tensor:
        """T mu in V/Å, (N, 3), where the interaction's tensors have been replaced by ``geometry``."""
        return self._bound_to(geometry).dipole_fields(dipoles)

    def energy(self, local: Tensor, external: Tensor, polarizabilities: Tensor, *geometry: Tensor) -> Tensor:
        """What the local field makes stationary, eV, (B,)."""
        dipoles = respond(polarizabilities, local)
        atoms = (dipoles * (0.5 * local - external)).sum(dim=1)
        own = segment_sum(atoms, self.graph.batch, self.graph.num_structures)
        return own + self._bound_to(geometry).dipole_energy(dipoles)

    def solve(self, external: Tensor) -> Tensor:
        """The local field without derivatives."""
        require_finite(external, self.graph.batch, WHAT)
        # solves of derivatives have the same matrix as the first one
        if not self._prepared:
            self._prepared.append(self._solver())
        return self._prepared[0](external)

    def _geometry(self) -> list[Tensor]:
        """The tensors of the interaction through which derivatives go."""
        return differentiable_tensors((self.bound.pairs, self.bound.sums))

    def _bound_to(self, geometry: tuple[Tensor, ...]) -> BoundMultipoles:
        pairs, sums = with_tensors((self.bound.pairs, self.bound.sums), geometry)
        return replace(self.bound, pairs=pairs, sums=sums)

    def _solver(self) -> Solve:
        bound, polarizabilities = self.bound, self.polarizabilities
        pairs = CoupledPairs(bound, polarizabilities, induced_damping(polarizabilities, self.strength))
        largest = int(torch.bincount(self.graph.batch, minlength=1).max())
        if largest <= self.solver.dense_up_to and bound.has_matrix:
            return FactorisedInduction.of(bound, polarizabilities, pairs.refusal).solve
        pairs.require_stable()
        refine = near_field(pairs)
        solver = TransferIterations(
            self.graph.batch,
            self.graph.num_structures,
            self.solver.tolerance,
            self.solver.max_iterations,
            WHAT,
            pairs.explain,
        )

        def solve(external: Tensor) -> Tensor:
            # iterations of derivatives have other right-hand sides: there the start is of no use
            this = self.graph.solves.next(WHAT)
            start = this.start_for(external) if self.convergence or self.start is None else self.start
            found = solver.solve(
                external, lambda mu: -field_of(bound, mu), lambda e: respond(polarizabilities, e), start, refine
            )
            this.end(found.source)
            self.convergence.append(found.convergence)
            return found.source + found.residual  # external + T mu

        return solve


def induced_damping(polarizabilities: Tensor, strength: Tensor | float) -> TholeDamping:
    """Of the fields that act on, or come from, dipoles induced on atoms with alpha in Å³, (N, 3, 3)."""
    return TholeDamping(isotropic(polarizabilities.to(torch.float64)), strength, fields_only=True)


def field_of(bound: BoundMultipoles, dipoles: Tensor) -> Tensor:
    """T mu in V/Å, (N, 3)."""
    return bound.dipole_fields(dipoles)
