"""A uniform external field: where it acts, and the potential that it makes."""

from __future__ import annotations

import torch
from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.errors import ModelError
from eqff.kernels.capture import capturing
from eqff.response.guard import EnergyGuard


class FieldGuard(EnergyGuard):
    """Looks whether a model's energy answers an external field as a whole."""

    no_reader = (
        "No energy of this model follows from the external field, so it would exert no forces. Add one that does: "
        "+term@model.terms.uniform_field=uniform_field for charges and dipoles, also equilibrated charges whose own "
        "energy is in no term; charge equilibration with that energy (+term@model.terms.equilibration=equilibration); "
        "or induced dipoles."
    )
    lacking = (
        "An external field acts, but no part of this model holds the energy of %s in it: the field moves them at most, "
        "and the derivative of the energy by the field is not minus the dipole. "
        "+term@model.terms.uniform_field=uniform_field (its charges, dipoles) adds what is missing."
    )

    def acts(self, graph: AtomicGraph) -> bool:
        """See `EnergyGuard`."""
        return bool(graph.electric_field.any())


def acting_field(graph: AtomicGraph) -> Tensor | None:
    """The field in V/Å, (B, 3) float64; None where no structure is in one and nothing is differentiated by it.

    Captured to be compiled, which open structures can be, it looks at no values: compiled code goes on with zeros.

    Raises:
        ModelError: A periodic structure is in a field with a component along one of its lattice vectors. There the
            potential is no function of the place in the cell, so neither is the energy.
    """
    field = graph.electric_field
    if graph.open and capturing():
        return field.to(torch.float64)
    if field.requires_grad:
        inside = graph.pbc.any(dim=1)
        reason = "the derivative by a uniform field was asked for"
    else:
        if not bool(field.any()):
            return None
        along = (field.to(torch.float64)[:, None, :] * graph.cell.detach().to(torch.float64)).sum(dim=2)
        # rounding of float32 cells and fields; lattice vectors that are not there are zero
        size = torch.linalg.vector_norm(graph.cell, dim=2) * torch.linalg.vector_norm(field, dim=1)[:, None]
        inside = ((along.abs() > 1e-6 * size) & graph.pbc).any(dim=1)
        reason = "it is in a uniform electric field along a lattice vector"
    if bool(inside.any()):
        raise ModelError(
            f"Structure {int(inside.nonzero()[0])} of the batch is periodic, and {reason}. The potential of such a "
            "field is not periodic, so the energy is not defined; only changes of the dipole along a path are. Take "
            "Born charges (forces that a weak field F adds are Z·F), or an open structure."
        )
    return field.to(torch.float64)
