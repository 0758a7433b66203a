"""The energy of ions and of Wannier centroids that respond to the field of each other and from outside."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from eqff.data.fields import Field, declare
from eqff.data.graph import AtomicGraph
from eqff.longrange.centroids.fields import CentroidFields
from eqff.longrange.centroids.self_consistent import CentroidSolver, SelfConsistentCentroids
from eqff.longrange.convergence import OnFailure, failure
from eqff.longrange.induction.polarizabilities import require_positive
from eqff.parts import Fields
from eqff.ranges import Count, InnerShare
from eqff.response.external_field import acting_field
from eqff.terms.wannier_electrostatics import WannierElectrostatics

declare(Field("effective_fields", "atom", (3,), "1o", "V/Å", "field that the Wannier centroid follows", "internal"))
declare(Field("centroid_iterations", "structure", None, "", "", "Newton steps that the response took", "internal"))
declare(Field("centroid_residual", "structure", None, "", "", "relative residual of the response", "internal"))


class SelfConsistentWannier(WannierElectrostatics):
    """d = d0 + alpha E / (k_e q) in the field E of all Gaussian charges, at d, and from outside: SCFNN's response.

    [Gao and Remsing, Nat. Commun. 13, 1572 (2022)], with sigma = sqrt(2) width. d0 is predicted for the short-range
    system, alpha is how the centroid responds; charges that are wide make a field that varies slowly. Unlike in the
    paper, which predicts forces apart, d is where one energy is stationary, U = sum k_e q² (d - d0)·alpha^-1 (d - d0) /
    2 + (electrostatic energy). So forces are its derivative, and dE/dF is minus the dipole.

    Args:
        tolerance: Of the field's residual, relative to the field at centroids that don't respond.
        max_iterations: Newton steps.
        on_failure: Without convergence, "raise" for an error or "warn" for a line in the log, and what was reached is
            used.
        polarizability: Whether that of structures is written too, for three more linear systems.

    Other arguments are those of `WannierElectrostatics`.
    """

    reads = (
        "positions",
        "electric_field",
        "ion_charges",
        "centroid_charges",
        "short_range_displacements",
        "atomic_polarizabilities",
    )
    writes = ("wannier_displacements", "effective_fields", "centroid_iterations", "centroid_residual")

    def __init__(
        self,
        tolerance: InnerShare = 1e-8,
        max_iterations: Count = 20,
        on_failure: OnFailure = "raise",
        polarizability: bool = False,
        **settings: Any,
    ):
        super().__init__(**settings)
        self.solver = CentroidSolver(tolerance, max_iterations, failure(on_failure))
        if polarizability:
            self.writes = (*self.writes, "polarizability")

    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """Energies in eV, (B,), ``wannier_displacements`` in Å, ``effective_fields`` in V/Å, and how the solve went.

        On demand ``polarizability`` in Å³, (B, 3, 3), of fixed ions.

        Raises:
            ModelError: Polarizabilities that are none, no stable response or no convergence; a charged periodic
                structure that is refused, or a field along a lattice vector.
        """
        start = fields["short_range_displacements"]
        centroids = CentroidFields.of(self.bind(graph, fields), fields["centroid_charges"])
        problem = SelfConsistentCentroids(graph, centroids, self.solver)
        alpha = fields["atomic_polarizabilities"].to(torch.float64)
        require_positive(alpha, graph.batch)
        others = (alpha, start.to(torch.float64), graph.positions.to(torch.float64), graph.cell.to(torch.float64))
        outside = acting_field(graph)
        if outside is None:
            outside = others[0].new_zeros(graph.num_structures, 3)
        local = problem.effective_field(*others, outside)
        told = problem.convergence[0]
        found = {
            "energy": problem.energy_at(local, outside, *others),
            "wannier_displacements": problem.displacements(local, *others[:2]).to(start.dtype),
            "effective_fields": local.to(start.dtype),
            "centroid_iterations": told.each.to(told.residual.dtype),
            "centroid_residual": told.residual,
        }
        if "polarizability" in self.writes:
            found["polarizability"] = problem.polarizability(local, outside, *others).to(start.dtype)
        return found
