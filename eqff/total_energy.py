"""The one place where energies of terms are added up."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from eqff.compilation.plain_parts import called
from eqff.data.graph import AtomicGraph
from eqff.nn.reduce import segment_sum
from eqff.parts import Head, Term


def total_energy(
    graph: AtomicGraph, fields: Mapping[str, Tensor], heads: Mapping[str, Head], terms: Mapping[str, Term]
) -> tuple[Tensor, dict[str, Tensor]]:
    """The sum of terms, (B,) in eV, float64, and all fields: those given, of heads, of terms, ``energy_TERM`` (B,).

    Args:
        graph: The batch.
        fields: What parts before have written.
        heads: By name, in the order in which they run: before the terms, or after them.
        terms: By name.
    """
    fields = of_heads(graph, dict(fields), heads, after_terms=False)
    total = torch.zeros(graph.num_structures, dtype=torch.float64, device=graph.positions.device)
    for name, term in terms.items():
        written = dict(called(f"terms.{name}", term, graph, fields))
        energy = written.pop("energy").to(torch.float64)
        if term.level == "atom":
            written[f"atom_energy_{name}"] = energy
            energy = segment_sum(energy, graph.batch, graph.num_structures)
        fields = fields | written | {f"energy_{name}": energy}
        total = total + energy
    return total, of_heads(graph, fields, heads, after_terms=True)


def of_heads(
    graph: AtomicGraph, fields: dict[str, Tensor], heads: Mapping[str, Head], *, after_terms: bool
) -> dict[str, Tensor]:
    """The fields given and those of heads.

    Args:
        graph: The batch.
        fields: What parts before have written.
        heads: By name, in the order in which they run.
        after_terms: Which of them: those that run before the terms, or after.
    """
    for name, head in heads.items():
        if head.after_terms == after_terms:
            fields = fields | called(f"heads.{name}", head, graph, fields)
    return fields
