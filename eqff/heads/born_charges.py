"""The dipole together with its derivatives by positions, so that either can be trained on."""

from __future__ import annotations

from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.heads.dipole import Dipole
from eqff.parts import Fields
from eqff.response.born_charges import born_charges
from eqff.response.totals import total_dipole


class DipoleAndBornCharges(Dipole):
    """The `Dipole`, and Z_k,ab = d mu_b / d r_ka of the same moments; see `eqff.response.born_charges`.

    Three vector-Jacobian products each time (nine with periodic structures), so take it where Born charges are
    trained on or asked for. Arguments are those of `Dipole`.
    """

    writes = ("dipole", "born_charges")
    differentiates = True
    compiles = False
    compiles_open = True

    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """``dipole`` in e·Å, (B, 3), and ``born_charges`` in e, (N, 3, 3)."""
        moments = self.moments(fields)
        dtype = graph.positions.dtype
        return {
            "dipole": total_dipole(graph, moments).to(dtype),
            "born_charges": born_charges(graph, moments.charges, moments.dipoles).to(dtype),
        }
