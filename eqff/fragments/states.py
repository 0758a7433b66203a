"""Charge and spin of each fragment, from what a structure states."""

from __future__ import annotations

import torch
from ase import Atoms
from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.errors import ModelError
from eqff.nn.reduce import segment_sum

_WHOLE = 1e-3  # e; charges of fragments are whole numbers, which float32 holds exactly
_MEND = (
    "State the charge of each fragment on all of its atoms: the per-atom key fragment_charge, in ASE "
    "atoms.arrays['fragment_charge']."
)


def fragment_states(graph: AtomicGraph, owner: Tensor, structure: Tensor) -> tuple[Tensor, Tensor]:
    """Total charge in e and multiplicity of each fragment, (F,) each, in the precision of the graph.

    Charges are those stated, zero where nothing is. Spins are the lowest that the electrons of a fragment allow; that
    of the structure must follow from them, so that an ion whose charge nobody stated is noticed by its odd electron.

    Args:
        graph: The batch.
        owner: Fragment of each atom, (N,).
        structure: Structure of each fragment, (F,).

    Raises:
        ModelError: Charges that differ within a fragment or don't add up, or another multiplicity.
    """
    count, given = structure.shape[0], graph.fragment_charge
    if given is None:
        given = torch.zeros_like(graph.positions[:, 0])
    sizes = segment_sum(torch.ones_like(given), owner, count)
    charges = (segment_sum(given, owner, count) / sizes).round()
    differ = (given - charges[owner]).abs() > _WHOLE
    if bool(differ.any()):
        at = int(differ.nonzero()[0])
        raise ModelError(
            f"{_named(graph, int(graph.batch[at]))}: atom {at} of the batch has the fragment_charge "
            f"{float(given[at]):g} e, but it is one whole number for all atoms of a fragment. {_MEND}"
        )
    totals = segment_sum(charges, structure, graph.num_structures)
    missed = (totals - graph.total_charge).abs() > _WHOLE
    if bool(missed.any()):
        at = int(missed.nonzero()[0])
        raise ModelError(
            f"{_named(graph, at)}: the charges of its fragments, {_listed(charges[structure == at])}, don't add up to "
            f"its total charge, {float(graph.total_charge[at]):g}. {_MEND}"
        )
    electrons = segment_sum(graph.numbers, owner, count) - charges.to(torch.int64)
    unpaired = (electrons % 2).to(charges.dtype)
    excess = (segment_sum(unpaired, structure, graph.num_structures) - graph.multiplicity + 1).abs() > _WHOLE
    if bool(excess.any()):
        at = int(excess.nonzero()[0])
        own, multiplicity = structure == at, float(graph.multiplicity[at])
        raise ModelError(
            f"{_named(graph, at)}: with the charges {_listed(charges[own])} its fragments have "
            f"{_listed(unpaired[own])} unpaired electrons in their lowest states, but the multiplicity is "
            f"{multiplicity:g}. Are fragments ions? {_MEND} Fragments in higher spin states are not treated."
        )
    return charges, 1.0 + unpaired


def _named(graph: AtomicGraph, structure: int) -> str:
    formula = Atoms(graph.numbers[graph.batch == structure].tolist()).get_chemical_formula()
    return f"Structure {structure} of the batch ({formula})"


def _listed(values: Tensor) -> str:
    return ", ".join(f"{value:g}" for value in values.tolist())
