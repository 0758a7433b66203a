"""The part of the reference energy that depends on the total charge alone; it has no forces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from ase.data import chemical_symbols
from torch import Tensor, nn

from eqff.data.charge_reference import ChargeReference, charge_energy, signed
from eqff.data.graph import AtomicGraph
from eqff.errors import ConfigError, ModelError
from eqff.kernels.capture import capturing
from eqff.nn.exact import ExactModule
from eqff.nn.reduce import segment_sum
from eqff.parts import Fields, Term


class ChargeReferenceEnergy(Term):
    """E(Q, composition) of `eqff.data.charge_reference.ChargeReference`, in float64.

    `eqff.build.build_potential` adds it to every model whose data were given such a reference, so that training,
    evaluation and simulation use the same.

    Args:
        charge_reference: ``slope``, ``offsets`` and ``ions`` as plain values.

    Raises:
        ConfigError: There is none.
        ModelError: On a batch that holds a total charge without a reference energy.
    """

    reads = ("numbers", "total_charge")
    level = "structure"

    def __init__(self, charge_reference: Mapping[str, Any] | None):
        super().__init__()
        reference = ChargeReference.from_dict(charge_reference)
        if reference is None:
            raise ConfigError(
                "The data have no energies of charge states: set data.charge_reference, or drop this term."
            )
        self.tables = ExactModule()
        self.names = tuple(reference.tensors())
        for name, values in reference.tensors().items():
            self.tables.register_buffer(name, values)
        self.known = ", ".join(map(signed, sorted(reference.offsets))) or "those that its ions reach"

    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """Energies in eV, (B,) float64."""
        tables = {name: getattr(self.tables, name) for name in self.names}
        energy = charge_energy(tables, graph.total_charge, _counts(graph))
        # a compiled step can't look; it only sees training frames, whose charges were checked when they were read
        if not torch.compiler.is_compiling() and not capturing() and bool(energy.isnan().any()):
            charges = sorted({round(charge) for charge in graph.total_charge[energy.isnan()].tolist()})
            raise ModelError(
                f"The model has no reference energy for total charge {', '.join(map(signed, charges))}, only for "
                f"{self.known}: it was trained with energies of its own for each charge state. Leave such structures "
                "out, or train on data that has them, or with data.charge_reference=linear or null."
            )
        return {"energy": energy}


def _counts(graph: AtomicGraph) -> Tensor:
    """Atoms of each atomic number in each structure, (B, Z) float64."""
    single = nn.functional.one_hot(graph.numbers, len(chemical_symbols)).to(torch.float64)
    return segment_sum(single, graph.batch, graph.num_structures)
