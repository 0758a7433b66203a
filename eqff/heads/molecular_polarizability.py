"""The polarizability of a structure from those of its atoms."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.longrange.induction.mutual import InductionSolver
from eqff.longrange.induction.response import additive_polarizability, interacting_polarizability
from eqff.longrange.induction.room import DampingRoom
from eqff.longrange.multipoles.interaction import MultipoleInteraction
from eqff.parts import Fields, Head
from eqff.ranges import Count, InnerShare, Positive


class MolecularPolarizability(Head):
    """alpha = sum_i alpha_i, or with ``interacting`` the response of atoms that polarize each other.

    See `eqff.longrange.induction.response`. Of a periodic structure, its dipole by the macroscopic field.

    Args:
        interacting: Whether atoms polarize each other.
        strength: Thole's a.
        tolerance: Relative residual of conjugate gradients.
        max_iterations: Of conjugate gradients; no convergence within them is an error.
        dense_up_to: Matrices are factorised if the largest structure of a batch has at most this many atoms.
        cutoff: Of neighbours in periodic structures, Å.
        accuracy: Error of lattice sums, relative (see `eqff.longrange.tuning`).
        mesh_from: Periodic structures of this many atoms and more are summed on a mesh.
    """

    reads = ("atomic_polarizabilities", "positions")
    writes = ("polarizability",)
    compiles = False  # looks at the values of polarizabilities

    def __init__(
        self,
        interacting: bool = True,
        strength: Positive = 0.39,
        tolerance: InnerShare = 1e-8,
        max_iterations: Count = 200,
        dense_up_to: Count = 150,
        cutoff: Positive = 6.0,
        accuracy: InnerShare = 1e-6,
        mesh_from: Count = 500,
    ):
        super().__init__()
        self.interacting, self.strength = interacting, strength
        self.solver = InductionSolver(tolerance, max_iterations, dense_up_to)
        self.interaction = MultipoleInteraction(cutoff=cutoff, accuracy=accuracy, mesh_from=mesh_from)
        self.room = DampingRoom(self.interaction, strength)

    @property
    def neighbour_lists(self) -> dict[str, float]:
        """Those of the interaction, if there is one."""
        return self.interaction.neighbour_lists if self.interacting else {}

    def heed_bounds(self, bounds: Mapping[str, float]) -> None:
        """Looks whether damping would end within the cutoff, whatever is learned."""
        self.room.heed(bounds.get("atomic_polarizabilities"))

    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """``polarizability`` in Å³, (B, 3, 3)."""
        atoms = fields["atomic_polarizabilities"]
        if self.interacting:
            if self.training:
                self.room.require(graph)
            value = interacting_polarizability(graph, self.interaction, atoms, self.strength, self.solver)
        else:
            value = additive_polarizability(graph, atoms)
        return {"polarizability": value.to(atoms.dtype)}
