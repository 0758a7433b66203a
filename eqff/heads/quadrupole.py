"""The traceless quadrupole of a structure from its atoms' charges, dipoles and quadrupoles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.errors import ConfigError
from eqff.longrange.multipoles.moments import Moments
from eqff.parts import Fields, Head
from eqff.response.totals import Origin, origins, total_quadrupole

AtomicMoment = Literal["atomic_dipoles", "induced_dipoles", "atomic_quadrupoles"]


class Quadrupole(Head):
    """Theta = sum 1/2 q (3 r r - r²) + 3/2 (r mu + mu r) - r·mu + Theta_i, r from the origin (Buckingham).

    Only that of a structure without charge and dipole is the same about every origin; so the origin has to be that of
    the labels. In a periodic structure it depends on which image of each atom is given.

    Args:
        include: Fields that are added to the charges: "atomic_dipoles" and "atomic_quadrupoles" of heads,
            "induced_dipoles" of the induction term (it is then computed after the terms).
        origin: "coordinates", "center_of_mass" (standard atomic masses) or "center_of_nuclear_charge".
        charges: The field of charges.

    Raises:
        ConfigError: A field is named twice, or the origin is none of these.
    """

    writes = ("quadrupole",)

    def __init__(self, include: Sequence[AtomicMoment] = (), origin: Origin = "coordinates", charges: str = "charges"):
        super().__init__()
        if len(set(include)) < len(include):
            raise ConfigError(f"include names a field twice: {', '.join(include)}.")
        self.charges, self.origin = charges, origin
        self.dipoles = tuple(name for name in include if name != "atomic_quadrupoles")
        self.quadrupoles = "atomic_quadrupoles" in include
        self.reads = (charges, "positions", "numbers", *include)
        self.after_terms = "induced_dipoles" in include

    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """``quadrupole`` in e·Å², (B, 3, 3)."""
        dipoles = [fields[name] for name in self.dipoles]
        moments = Moments(
            fields[self.charges],
            sum(dipoles[1:], dipoles[0]) if dipoles else None,
            fields["atomic_quadrupoles"] if self.quadrupoles else None,
        )
        found = total_quadrupole(graph, moments, origins(graph, self.origin))
        return {"quadrupole": found.to(graph.positions.dtype)}
