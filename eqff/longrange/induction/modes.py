"""How far induction is carried: converged, one shot, or a number of steps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.longrange.convergence import WarnAndCount
from eqff.longrange.induction.mutual import InductionSolver, MutualInduction, field_of, induced_damping
from eqff.longrange.induction.polarizabilities import require_positive, respond
from eqff.longrange.multipoles.bound import BoundMultipoles
from eqff.longrange.multipoles.interaction import MultipoleInteraction
from eqff.nn.reduce import segment_sum


@dataclass(frozen=True)
class Induced:
    """The answer to a field.

    Attributes:
        dipoles: mu in e·Å, (N, 3).
        local_field: e with mu = alpha e / k_e, V/Å, (N, 3).
        energy: Of the induction, eV, (B,).
        iterations: That were made for each structure, (B,); 0 for a direct solve.
        residual: √(r·alpha r) relative to that of the right-hand side, where iterations ended, (B,).
    """

    dipoles: Tensor
    local_field: Tensor
    energy: Tensor
    iterations: Tensor
    residual: Tensor


class InductionMode(ABC):
    """How dipoles follow from the field of everything else."""

    def induce(
        self,
        graph: AtomicGraph,
        interaction: MultipoleInteraction,
        external: Tensor,
        polarizabilities: Tensor,
        strength: Tensor | float,
        start: Tensor | None = None,
        bound: BoundMultipoles | None = None,
    ) -> Induced:
        """Dipoles and energy, differentiable to any order.

        Args:
            graph: The batch.
            interaction: How the fields of dipoles are summed.
            external: E, what all but induced dipoles make at each atom, V/Å, (N, 3).
            polarizabilities: alpha, symmetric positive, or zero, Å³, (N, 3, 3).
            strength: Thole's a between induced dipoles, (N,) or one number.
            start: Local fields (N, 3) with which iterations begin.
            bound: The interaction, bound to the graph and damped by this strength, where the caller has it already.

        Raises:
            ModelError: Polarizabilities that are none, a polarization catastrophe, or no convergence.
        """
        alpha, external = polarizabilities.to(torch.float64), external.to(torch.float64)
        require_positive(alpha, graph.batch)
        strength = torch.as_tensor(strength, dtype=torch.float64, device=alpha.device).expand(graph.num_atoms)
        if bound is None and self.mutual:
            bound = interaction.bind(graph, induced_damping(alpha, strength), rank=1)
        return self._induce(graph, external, alpha, strength, start, None if bound is None else bound.of_dipoles())

    @property
    @abstractmethod
    def mutual(self) -> bool:
        """Whether induced dipoles act on each other at all."""

    @abstractmethod
    def _induce(
        self,
        graph: AtomicGraph,
        external: Tensor,
        alpha: Tensor,
        strength: Tensor,
        start: Tensor | None,
        bound: BoundMultipoles | None,
    ) -> Induced:
        """The same with checked float64 tensors and a damped interaction of the dipoles, if they have one."""


@dataclass(frozen=True)
class Mutual(InductionMode):
    """(k_e alpha^-1 - T) mu = E, solved; U = -1/2 sum mu·E [Applequist et al., J. Am. Chem. Soc. 94, 2952 (1972)].

    Attributes:
        solver: How.
    """

    solver: InductionSolver = InductionSolver()

    mutual = True

    def _induce(
        self,
        graph: AtomicGraph,
        external: Tensor,
        alpha: Tensor,
        strength: Tensor,
        start: Tensor | None,
        bound: BoundMultipoles | None,
    ) -> Induced:
        problem = MutualInduction(bound, alpha, strength, self.solver, start)
        local = problem.local_field(external)
        energy = problem.energy_at(local, external)
        told = problem.convergence[0] if problem.convergence else None
        none = energy.detach().new_zeros(graph.num_structures)
        iterations, residual = (none.to(torch.int64), none) if told is None else (told.each, told.residual)
        return Induced(respond(alpha, local), local, energy, iterations, residual)


@dataclass(frozen=True)
class Steps(InductionMode):
    """mu_0 = alpha E / k_e and mu_(n+1) = alpha (E + T mu_n) / k_e, a fixed number of times (Jacobi's iteration).

    U = -1/2 sum mu_k·E with the dipoles of the last step. It is a function of the positions by its own right, whose
    derivatives go through all steps; its memory grows with their number. Without steps it is direct polarization,
    U = -1/2 sum E·alpha E / k_e, where dipoles don't feel each other.

    Steps that grow are told in the log: more of them would lead further away.

    Attributes:
        count: k, from 0.
    """

    count: int
    grown: WarnAndCount = field(default_factory=WarnAndCount, compare=False, repr=False)

    @property
    def mutual(self) -> bool:
        """Not without steps."""
        return self.count > 0

    def _induce(
        self,
        graph: AtomicGraph,
        external: Tensor,
        alpha: Tensor,
        strength: Tensor,
        start: Tensor | None,
        bound: BoundMultipoles | None,
    ) -> Induced:
        local, dipoles = external, respond(alpha, external)
        before = dipoles
        for _ in range(self.count):
            before = dipoles
            local = external + field_of(bound, dipoles)
            dipoles = respond(alpha, local)
        energy = -0.5 * segment_sum((dipoles * external).sum(dim=1), graph.batch, graph.num_structures)
        change = self._change(graph, external, dipoles - before, alpha)
        if bool((change > 1).any()):
            worst = int(change.argmax())
            self.grown(
                f"Induction in {self.count} steps: in structure {worst} of the batch the last one changed dipoles by "
                f"{float(change[worst]):.3g} of what they began with. Atoms are too close or too polarizable for it."
            )
        iterations = torch.full((graph.num_structures,), self.count, device=energy.device)
        return Induced(dipoles, local, energy, iterations, change)

    def _change(self, graph: AtomicGraph, external: Tensor, change: Tensor, alpha: Tensor) -> Tensor:
        """How far the last step went: mu of structures, relative to their first ones."""
        with torch.no_grad():
            first = respond(alpha, external)
            squares = [segment_sum(mu.square().sum(dim=1), graph.batch, graph.num_structures) for mu in (change, first)]
            return (squares[0] / squares[1].clamp(min=torch.finfo(torch.float64).tiny)).sqrt()
