"""An energy that a head has computed on the way to something else."""

from __future__ import annotations

from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.parts import Fields, Term


class FieldEnergy(Term):
    """E = a field in eV per structure, for example what equilibrated charges minimise.

    Args:
        field: Its name.
    """

    level = "structure"

    def __init__(self, field: str = "equilibration_energy"):
        super().__init__()
        self.field = field
        self.reads = (field,)
        self.holds = (f"the energy in the field {field}",)

    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """Energies in eV, (B,)."""
        return {"energy": fields[self.field]}
