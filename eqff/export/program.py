"""What is compiled, as functions of plain tensors: energies and fields, and derivatives of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from eqff.data import fields as table
from eqff.data.flat import EDGES, unpack
from eqff.data.graph import INPUTS, AtomicGraph
from eqff.derivatives import differentiate
from eqff.potential import Potential


@dataclass(frozen=True)
class Signature:
    """Names of the tensors that go into compiled functions, and come out.

    Attributes:
        lists: Neighbour lists, in order.
        handed: Fields whose cotangents the derivative takes: the work that parts beside the compiled ones do on them.
        fields: That come out, in order.
    """

    lists: tuple[str, ...]
    handed: tuple[str, ...]
    fields: tuple[str, ...]


def signature(compiled: Potential, handed: Sequence[str], sample: AtomicGraph) -> Signature:
    """That of a model: out come its labels, also after each pass, energies of terms, and what is handed on."""
    with torch.no_grad():
        _, fields = compiled.energy(sample)
    wanted = set(table.names("label")) | set(compiled.per_pass) | set(handed)
    out = [name for name in fields if name in wanted or name.startswith(("energy_", "atom_energy_"))]
    return Signature(tuple(compiled.neighbour_lists), tuple(handed), tuple(out))


class EnergyFunction(torch.nn.Module):
    """Energy and fields alone, of one structure: (energy (1,), *fields)."""

    def __init__(self, compiled: Potential, names: Signature):
        super().__init__()
        self.compiled, self.names = compiled, names

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """From `pack`'s tensors."""
        graph = unpack(tensors, self.names.lists)
        with torch.no_grad():
            energy, fields = self.compiled.energy(graph.deformed(graph.positions))
        return energy, *(fields[name] for name in self.names.fields)


class DerivativeFunction(EnergyFunction):
    """Forces (N, 3) and virial (1, 3, 3), then energy and fields; these not where something runs beside.

    Cotangents ∂E'/∂x of what runs beside, by handed fields x, follow the graph's tensors. Derivatives are then those of
    E + Σ ∂E'/∂x · x, which is all of E + E' but the part of E' that reads positions itself.
    """

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """From `pack`'s tensors and one cotangent for each handed field."""
        count = len(INPUTS) + len(EDGES) * len(self.names.lists)
        cotangents = dict(zip(self.names.handed, tensors[count:], strict=True))

        def energy_and_work(graph: AtomicGraph) -> tuple[Tensor, dict[str, Tensor]]:
            energy, fields = self.compiled.energy(graph)
            work = [(fields[name] * value).sum().to(energy.dtype) for name, value in cotangents.items()]
            return energy + sum(work), fields

        result = differentiate(energy_and_work, unpack(tensors, self.names.lists), stress=True)
        derivatives = result["forces"], result["virial"]
        if cotangents:
            return derivatives
        return *derivatives, result["energy"], *(result[name] for name in self.names.fields)


def named(values: Sequence[Tensor], names: Signature) -> dict[str, Tensor]:
    """Energy and fields by name, as they come out."""
    return dict(zip(("energy", *names.fields), values, strict=True))


def no_cotangents(fields: Mapping[str, Tensor], names: Signature) -> list[Tensor]:
    """Zero for each handed field."""
    return [torch.zeros_like(fields[name]) for name in names.handed]
