"""What all heads that equilibrate charges share: sums, solver, and what is done with charged cells."""

from __future__ import annotations

from eqff.data.graph import AtomicGraph
from eqff.longrange.charged_cells import ChargedCell, charged_cells
from eqff.longrange.convergence import OnFailure, failure
from eqff.longrange.interaction import Interaction
from eqff.longrange.solvers import SolverChoice
from eqff.parts import Head
from eqff.ranges import Count, InnerShare, Positive


class EquilibratingHead(Head):
    """Charges that are equilibrated with an ``interaction``, which a subclass makes.

    Args:
        cutoff: Of neighbours in periodic structures, Å; what is not 1/r of the interaction has to end within.
        accuracy: Of lattice sums.
        mesh_from: Atoms from which on periodic structures are summed on a mesh.
        dense_up_to: Atoms of the largest structure of a batch up to which matrices are factorised; beyond, conjugate
            gradients.
        tolerance: Relative residual of conjugate gradients.
        max_iterations: After which they have failed.
        on_failure: "raise" for an error then; "warn" to log, count and go on with what was reached.
        charged_cell: "background" for a uniform neutralising background of charged crystals, and a convention for
            charged slabs and wires; "refuse" to make all of them an error.
    """

    interaction: Interaction
    compiles = False
    compiles_open = True

    def __init__(
        self,
        cutoff: Positive = 8.0,
        accuracy: InnerShare = 1e-5,
        mesh_from: Count = 500,
        dense_up_to: Count = 499,
        tolerance: Positive = 1e-8,
        max_iterations: Count = 500,
        on_failure: OnFailure = "raise",
        charged_cell: ChargedCell = "background",
    ):
        super().__init__()
        self.lattice_settings = (cutoff, accuracy, mesh_from)
        self.solver = SolverChoice(dense_up_to, tolerance, max_iterations, failure(on_failure))
        self.charged_cells = charged_cells(charged_cell)

    @property
    def neighbour_lists(self) -> dict[str, float]:
        """Those of the way of summing."""
        return self.interaction.neighbour_lists

    def compiles_for(self, graph: AtomicGraph) -> bool:
        """See `Part.compiles_for`: iterations end by what they have reached."""
        return super().compiles_for(graph) and self.solver.direct(graph)

    def check_batch(self, graph: AtomicGraph) -> None:
        """Looks for atoms on each other."""
        self.interaction.check(graph)
