"""The energy of dipoles that permanent moments, external fields and each other induce on polarizable atoms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from eqff.contributions import external_energy, field_energy
from eqff.data.fields import Field, declare
from eqff.data.graph import AtomicGraph
from eqff.errors import ConfigError
from eqff.longrange.external import external_fields
from eqff.longrange.induction.modes import InductionMode, Mutual, Steps
from eqff.longrange.induction.mutual import InductionSolver, induced_damping
from eqff.longrange.induction.room import DampingRoom
from eqff.longrange.multipoles.bound import BoundMultipoles
from eqff.longrange.multipoles.interaction import MultipoleInteraction
from eqff.longrange.multipoles.moments import Moments
from eqff.longrange.multipoles.scaling import PairScaling
from eqff.parts import Fields, Term
from eqff.ranges import Count, InnerShare, Positive, Size

declare(Field("local_fields", "atom", (3,), "1o", "V/Å", "electric field that polarizes the atom", "internal"))
declare(Field("induction_iterations", "structure", None, "", "", "iterations that induction took", "internal"))
declare(Field("induction_residual", "structure", None, "", "", "relative residual of the induction", "internal"))


class Induction(Term):
    """U = -1/2 sum mu·E with (k_e alpha^-1 - T) mu = E, where E is the field of permanent moments and of outside.

    [Applequist et al., J. Am. Chem. Soc. 94, 2952 (1972)], damped as by Thole [Chem. Phys. 59, 341 (1981)] in AMOEBA's
    form [Ren and Ponder, J. Phys. Chem. B 107, 5933 (2003)]: fields of permanent moments by lambda3, lambda5 and
    lambda7, of induced dipoles by lambda3 and lambda5. All pairs of open structures, Ewald's sum of periodic ones, on a
    mesh where they are large; tin-foil boundary. The permanent moments' energy is another term's. The field of external
    charges is part of E, softened by their own widths alone.

    Args:
        mode: "mutual" for converged dipoles; "direct" for mu = alpha E / k_e; "steps" for a number of Jacobi steps from
            there, with an energy of their own (`eqff.longrange.induction.modes.Steps`).
        steps: Of the mode "steps".
        polarizabilities: The field of polarizabilities.
        charges: The field of charges; None to leave them out, as for the next two.
        dipoles: The field of dipoles.
        quadrupoles: The field of quadrupoles (Buckingham).
        strength: Thole's a; smaller damps more.
        tolerance: Relative residual of conjugate gradients.
        max_iterations: Of conjugate gradients; no convergence within them is an error.
        dense_up_to: Matrices are factorised instead if the largest structure of a batch has at most this many atoms.
        cutoff: Of neighbours in periodic structures, Å.
        accuracy: Error of lattice sums, relative to the force between unit moments at 1 Å.
        mesh_from: Periodic structures of this many atoms and more are summed on a mesh.
        groups: The field of numbers of molecules, within which permanent moments induce nothing, though induced dipoles
            act on each other. Negative numbers stand for no molecule. None for no groups.

    Raises:
        ConfigError: Steps without their mode, or the other way round.
    """

    level = "structure"
    compiles = False
    writes = ("induced_dipoles", "local_fields", "induction_iterations", "induction_residual")
    holds = (field_energy("induced_dipoles"), external_energy("induced_dipoles"))

    def __init__(
        self,
        mode: Literal["mutual", "direct", "steps"] = "mutual",
        steps: Size | None = None,
        polarizabilities: str = "atomic_polarizabilities",
        charges: str | None = "charges",
        dipoles: str | None = None,
        quadrupoles: str | None = None,
        strength: Positive = 0.39,
        tolerance: InnerShare = 1e-8,
        max_iterations: Count = 200,
        dense_up_to: Size = 150,
        cutoff: Positive = 6.0,
        accuracy: InnerShare = 1e-6,
        mesh_from: Count = 500,
        groups: str | None = None,
    ):
        super().__init__()
        if (mode == "steps") != (steps is not None):
            raise ConfigError(f"steps belongs to mode=steps, which needs it; mode is {mode}, steps is {steps}.")
        modes: dict[str, InductionMode] = {
            "mutual": Mutual(InductionSolver(tolerance, max_iterations, dense_up_to)),
            "direct": Steps(0),
            "steps": Steps(steps or 0),
        }
        self.mode, self.strength = modes[mode], strength
        self.polarizabilities, self.groups = polarizabilities, groups
        moments = {"charges": charges, "dipoles": dipoles, "quadrupoles": quadrupoles}
        self.moments = {name: field for name, field in moments.items() if field is not None}
        others = () if groups is None else (groups,)
        inputs = ("positions", "electric_field", "external_charges")
        self.reads = (*inputs, polarizabilities, *self.moments.values(), *others)
        self.interaction = MultipoleInteraction(cutoff=cutoff, accuracy=accuracy, mesh_from=mesh_from)
        self.room = DampingRoom(self.interaction, strength)

    @property
    def neighbour_lists(self) -> dict[str, float]:
        """Those of the sums."""
        return self.interaction.neighbour_lists

    def heed_bounds(self, bounds: Mapping[str, float]) -> None:
        """Looks whether damping would end within the cutoff, whatever is learned."""
        self.room.heed(bounds.get(self.polarizabilities))

    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """Energies in eV, (B,), ``induced_dipoles`` in e·Å, ``local_fields`` in V/Å, (N, 3), and how the solve went.

        Raises:
            ModelError: Polarizabilities that are none, a polarization catastrophe, or no convergence; in training,
                polarizabilities that could grow past what the cutoff allows.
        """
        if self.training:
            self.room.require(graph)
        alpha, rank = fields[self.polarizabilities], 1
        external = graph.electric_field.to(torch.float64)[graph.batch]
        if (outside := external_fields(graph, rank=1)) is not None:
            external = external + outside.field
        if self.moments:
            moments = Moments(**{name: fields[field] for name, field in self.moments.items()})
            rank = max(moments.rank, 1)
        # permanent moments act on dipoles as these act on each other: one interaction for both
        bound = self.interaction.bind(graph, induced_damping(alpha, self.strength), rank=rank, field_rank=1)
        if self.moments:
            external = external + self._without_groups(bound, graph, fields).fields(moments, rank=1).field
        found = self.mode.induce(graph, self.interaction, external, alpha, self.strength, bound=bound)
        return {
            "energy": found.energy,
            "induced_dipoles": found.dipoles.to(alpha.dtype),
            "local_fields": found.local_field.to(alpha.dtype),
            "induction_iterations": found.iterations.to(found.residual.dtype),
            "induction_residual": found.residual,
        }

    def _without_groups(self, bound: BoundMultipoles, graph: AtomicGraph, fields: Fields) -> BoundMultipoles:
        if self.groups is None:
            return bound
        scaling = PairScaling.of_groups(fields[self.groups], graph)
        return bound.rescaled(induced_damping(fields[self.polarizabilities], self.strength), scaling)
