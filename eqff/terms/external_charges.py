"""The energy of charges and permanent multipoles among external point charges."""

from __future__ import annotations

import torch
from torch import Tensor

from eqff.contributions import external_energy
from eqff.data.graph import AtomicGraph
from eqff.errors import ConfigError
from eqff.longrange.external import external_fields
from eqff.longrange.multipoles.moments import Moments, traceless
from eqff.nn.reduce import segment_sum
from eqff.parts import Fields, Term
from eqff.ranges import NonNegative


class ExternalChargeEnergy(Term):
    """E = sum q phi - mu·E - Theta:(grad E)/3 among external charges, for moments that these leave as they are.

    The electrostatics of mechanical embedding, with a model's moments in place of a force field's: derivatives by atoms
    and by external charges are opposite forces. Induced dipoles have their energy in their own term, and equilibrated
    charges (`eqff.heads.charge_equilibration`) theirs in what they minimise: leave those out here.

    Args:
        charges: The field of the charges; None to leave them out, as for the next two.
        dipoles: The field of permanent atomic dipoles.
        quadrupoles: The field of quadrupoles (Buckingham).
        width: Å; moments are those of clouds exp(-r²/width²), which external charges may enter. 0 for points.
        widths: The field of widths in Å, instead.

    Raises:
        ConfigError: No moments, or two kinds of widths.
        ModelError: On prediction: a periodic structure among external charges, or one of these on an atom.
    """

    level = "structure"

    def __init__(
        self,
        charges: str | None = "charges",
        dipoles: str | None = None,
        quadrupoles: str | None = None,
        width: NonNegative = 0.0,
        widths: str | None = None,
    ):
        super().__init__()
        moments = {"charges": charges, "dipoles": dipoles, "quadrupoles": quadrupoles}
        self.moments = {kind: name for kind, name in moments.items() if name is not None}
        if not self.moments:
            raise ConfigError(
                "External charges would act on nothing: name the field of charges, dipoles or quadrupoles."
            )
        if width and widths is not None:
            raise ConfigError(
                f"Give either width ({width:g} Å, for all atoms) or widths (the field {widths}), not both."
            )
        self.width, self.widths = width, widths
        self.holds = tuple(external_energy(name) for name in self.moments.values())
        others = () if widths is None else (widths,)
        self.reads = ("external_charges", "positions", *self.moments.values(), *others)

    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """Energies in eV, (B,)."""
        moments = Moments(**{kind: fields[name] for kind, name in self.moments.items()})
        outside = external_fields(graph, moments.rank, self._clouds(graph, fields))
        atoms = torch.zeros(graph.num_atoms, dtype=torch.float64, device=graph.positions.device)
        if outside is None:
            return {"energy": segment_sum(atoms, graph.batch, graph.num_structures)}
        if moments.charges is not None:
            atoms = atoms + moments.charges.to(torch.float64) * outside.potential
        if moments.dipoles is not None:
            atoms = atoms - (moments.dipoles.to(torch.float64) * outside.field).sum(dim=1)
        if moments.quadrupoles is not None:
            quadrupoles = traceless(moments.quadrupoles.to(torch.float64))
            atoms = atoms - (quadrupoles * outside.gradient).sum(dim=(1, 2)) / 3
        return {"energy": segment_sum(atoms, graph.batch, graph.num_structures)}

    def _clouds(self, graph: AtomicGraph, fields: Fields) -> Tensor | None:
        if self.widths is not None:
            return fields[self.widths]
        options = {"dtype": torch.float64, "device": graph.positions.device}
        return torch.full((graph.num_atoms,), self.width, **options) if self.width else None
