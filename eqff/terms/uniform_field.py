"""The energy of charges and permanent dipoles in a uniform external field."""

from __future__ import annotations

import torch
from torch import Tensor

from eqff.contributions import field_energy
from eqff.data.graph import AtomicGraph
from eqff.errors import ConfigError
from eqff.longrange.multipoles.moments import Moments
from eqff.nn.reduce import segment_sum
from eqff.parts import Fields, Term
from eqff.response.external_field import acting_field


class UniformField(Term):
    """E = -F·(sum q r + sum mu), with charges and dipoles that do not respond to the field.

    dE/dF is minus the dipole of these moments, and the force that the field adds is F times their Born charges. The
    energy of an ion depends on the origin of the coordinates; its forces don't. Induced dipoles have their energy in
    their own term, and equilibrated charges (`eqff.heads.charge_equilibration`) theirs in what they minimise: leave
    those out here.

    Args:
        charges: The field of the charges; None to leave them out.
        dipoles: The field of permanent atomic dipoles; None for none.

    Raises:
        ConfigError: Neither charges nor dipoles.
        ModelError: On prediction: a field along a lattice vector.
    """

    level = "structure"
    compiles = False  # the field's values and directions are looked at
    compiles_open = True  # there it is computed whatever they are

    def __init__(self, charges: str | None = "charges", dipoles: str | None = None):
        super().__init__()
        moments = {"charges": charges, "dipoles": dipoles}
        self.moments = {kind: name for kind, name in moments.items() if name is not None}
        if not self.moments:
            raise ConfigError("The field would act on nothing: name the field of charges, of dipoles, or of both.")
        self.holds = tuple(field_energy(name) for name in self.moments.values())
        self.reads = ("electric_field", "positions", *self.moments.values())

    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """Energies in eV, (B,)."""
        field = acting_field(graph)
        if field is None:
            return {"energy": torch.zeros(graph.num_structures, dtype=torch.float64, device=graph.positions.device)}
        moments = Moments(**{kind: fields[name] for kind, name in self.moments.items()})
        atoms = torch.zeros(graph.num_atoms, dtype=torch.float64, device=graph.positions.device)
        here = field[graph.batch]
        if moments.charges is not None:
            atoms = atoms - moments.charges.to(torch.float64) * (here * graph.positions.to(torch.float64)).sum(dim=1)
        if moments.dipoles is not None:
            atoms = atoms - (here * moments.dipoles.to(torch.float64)).sum(dim=1)
        return {"energy": segment_sum(atoms, graph.batch, graph.num_structures)}
