"""Energies of a model's terms as fields that can be compared with labels, such as the parts of SAPT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from eqff.data import fields as table
from eqff.data.graph import AtomicGraph
from eqff.errors import ConfigError
from eqff.parts import Fields, Head


class EnergyComponents(Head):
    """Each field is the sum of the energies of some terms, so that a loss, a metric or a figure can be had of it.

    Args:
        sums: Field to names of the terms that it is the sum of; fields set to null are left out.

    Raises:
        ConfigError: No sums, a sum of nothing, or a field that is no energy of a structure.
    """

    after_terms = True

    def __init__(self, sums: Mapping[str, Sequence[str] | None]):
        super().__init__()
        given = {name: terms for name, terms in sums.items() if terms is not None}
        self.sums = {name: tuple(f"energy_{term}" for term in terms) for name, terms in given.items()}
        if not self.sums or not all(self.sums.values()):
            raise ConfigError("sums needs fields and, for each, terms: for example sums={sapt_exch: [exchange]}.")
        for name in self.sums:
            row = table.field(name)
            if (row.level, row.unit, row.shape) != ("structure", "eV", ()) or name == "energy":
                raise ConfigError(
                    f"sums: '{name}' can't be a sum of some terms' energies; declare a field of your own, or take "
                    "sapt_elst, sapt_exch, sapt_ind or sapt_disp."
                )
        self.writes = tuple(self.sums)
        self.reads = tuple(dict.fromkeys(term for terms in self.sums.values() for term in terms))

    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """The sums in eV, (B,) float64."""
        return {name: sum(fields[term] for term in terms) for name, terms in self.sums.items()}
