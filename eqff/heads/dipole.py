"""The dipole moment of a structure from its atoms' charges and dipoles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from eqff.data.graph import AtomicGraph
from eqff.errors import ConfigError
from eqff.longrange.multipoles.moments import Moments
from eqff.parts import Fields, Head
from eqff.response.totals import total_dipole

AtomicDipoleField = Literal["atomic_dipoles", "induced_dipoles"]


class Dipole(Head):
    """mu = sum q_i r_i + sum mu_i, about the origin of the coordinates.

    For an ion it moves with the origin by Q times the shift. In a periodic structure it depends on which image of
    each atom is given, and only differences along a path have a meaning.

    Charges alone as in PhysNet [Unke & Meuwly, JCTC 15, 3678 (2019)]; with atomic dipoles as in MuML [Veit et al.,
    J. Chem. Phys. 153, 024113 (2020)].

    Args:
        channels: Channels of the backbone.
        atomic_dipoles: Whether this head adds mu_i of its own, linear in the atom's l = 1 features. They enter nothing
            else; those of other parts are named in ``include``.
        include: Fields of atomic dipoles that are added: "atomic_dipoles" (permanent ones of a head), "induced_dipoles"
            (of the induction term; the dipole is then computed after the terms).
        charges: The field of charges.

    Raises:
        ConfigError: A field is named twice, or dipoles are counted twice: as this head's own and as those of another.
    """

    writes = ("dipole",)

    def __init__(
        self,
        channels: int | None = None,
        atomic_dipoles: bool = True,
        include: Sequence[AtomicDipoleField] = (),
        charges: str = "charges",
    ):
        super().__init__()
        _check(atomic_dipoles, include, channels)
        self.charges, self.include = charges, tuple(include)
        self.reads = (charges, "positions", *(("features",) if atomic_dipoles else ()), *self.include)
        self.after_terms = "induced_dipoles" in self.include
        self.degree = 1 if atomic_dipoles else 0
        self.atomic = nn.Linear(channels, 1, bias=False) if atomic_dipoles and channels else None

    def moments(self, fields: Fields) -> Moments:
        """Charges in e and all dipoles in e·Å that enter."""
        parts = [fields[name] for name in self.include]
        if self.atomic is not None:
            # e3nn's l = 1 components are x, y, z
            parts.append(self.atomic(fields["features"][:, 1:4])[..., 0])
        return Moments(fields[self.charges], sum(parts[1:], parts[0]) if parts else None)

    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """``dipole`` in e·Å, (B, 3)."""
        return {"dipole": total_dipole(graph, self.moments(fields)).to(graph.positions.dtype)}


def _check(atomic_dipoles: bool, include: Sequence[str], channels: int | None) -> None:
    if len(set(include)) < len(include):
        raise ConfigError(f"include names a field twice: {', '.join(include)}.")
    if atomic_dipoles and "atomic_dipoles" in include:
        raise ConfigError(
            "Permanent dipoles would be counted twice: as this head's own, and as those of another. Set "
            "atomic_dipoles=false, or leave them out of include."
        )
    if atomic_dipoles and channels is None:
        raise ConfigError("There is no backbone to read atomic dipoles from: set atomic_dipoles=false.")
