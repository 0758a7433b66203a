"""Whether a model answers the external point charges that a structure is among."""

from __future__ import annotations

from eqff.data.graph import AtomicGraph
from eqff.response.guard import EnergyGuard

READ = "external_charges"
"""What parts that feel external charges name among the fields they read."""


class ExternalGuard(EnergyGuard):
    """Looks whether a model's energy answers external charges as a whole."""

    no_reader = (
        "No part of this model feels external charges in its energy, so they would exert no forces. Add one that does: "
        "+term@model.terms.external=external_charges for charges and dipoles that they leave as they are, charge "
        "equilibration with the energy that it minimises (+term@model.terms.equilibration=equilibration), or induced "
        "dipoles."
    )
    lacking = (
        "There are external charges, but no part of this model holds the energy of %s among them. "
        "+term@model.terms.external=external_charges (its charges, dipoles, quadrupoles) adds what is missing."
    )

    def acts(self, graph: AtomicGraph) -> bool:
        """See `EnergyGuard`."""
        return graph.external is not None
