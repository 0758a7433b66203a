"""Charges that are the same for every atom of an element, given by the user."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.errors import ConfigError, ModelError, did_you_mean
from eqff.nn.reduce import segment_sum
from eqff.parts import Fields, Head


class FormalCharges(Head):
    """q_i = q(Z_i), as in ionic crystals and classical force fields.

    Args:
        charges: e, by element symbol or atomic number.
        elements: Atomic numbers covered; each needs a charge.
        require_total: Whether a structure whose charges do not add up to its total charge is refused.

    Raises:
        ConfigError: An element without a charge, or one that does not exist.
    """

    reads = ("numbers", "total_charge")
    writes = ("charges",)

    def __init__(self, charges: Mapping[str | int, float], elements: tuple[int, ...], require_total: bool = True):
        super().__init__()
        self.register_buffer("table", by_element(charges, elements, "formal charges"), persistent=False)
        self.require_total = require_total
        self.compiles = not require_total  # sums are looked at

    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """``charges`` in e, (N,).

        Raises:
            ModelError: They don't add up to a structure's total charge.
        """
        charges = self.table.to(graph.positions.dtype)[graph.numbers]
        if self.require_total:
            require_total_charge(graph, charges, "formal charges")
        return {"charges": charges}


def require_total_charge(graph: AtomicGraph, charges: Tensor, what: str) -> None:
    """Checks that charges (N,) add up to the total charge of each structure.

    Raises:
        ModelError: They don't; ``what`` they are stands in the message.
    """
    exact = charges.to(torch.float64)
    sums, sizes = (segment_sum(values, graph.batch, graph.num_structures) for values in (exact, exact.abs()))
    rounding = torch.finfo(charges.dtype).eps * sizes  # of each charge, which molecules of one kind have alike
    wrong = (sums - graph.total_charge).abs() > 1e-4 + rounding
    if bool(wrong.any()):
        index = int(wrong.nonzero()[0])
        raise ModelError(
            f"The {what} of structure {index} of the batch add up to {float(sums[index]):.4f} e, but its total charge "
            f"is {float(graph.total_charge[index]):g} e. Correct either, or set require_total=false."
        )


def by_element(values: Mapping[str | int, float], elements: tuple[int, ...], what: str) -> Tensor:
    """A table that is indexed by atomic numbers, float64.

    Args:
        values: By element symbol or atomic number.
        elements: Atomic numbers that need one.
        what: Name of the values, for messages.

    Raises:
        ConfigError: An element without a value, or one that does not exist.
    """
    known = {atomic_number(element, what): float(value) for element, value in values.items()}
    absent = [element for element in elements if element not in known]
    if absent:
        from ase.data import chemical_symbols

        raise ConfigError(f"{what}: none given for {', '.join(chemical_symbols[z] for z in absent)}.")
    table = torch.zeros(max(known) + 1, dtype=torch.float64)
    table[list(known)] = torch.tensor(list(known.values()), dtype=torch.float64)
    return table


def atomic_number(element: str | int, what: str) -> int:
    """Of an element given by symbol or number.

    Raises:
        ConfigError: There is no such element; ``what`` it was given for stands in the message.
    """
    from ase.data import atomic_numbers, chemical_symbols

    text = str(element)
    number = int(text) if text.isdigit() else atomic_numbers.get(text, 0)
    if not 0 < number < len(chemical_symbols):
        raise ConfigError(f"{what}: there is no element '{element}'.{did_you_mean(text, atomic_numbers)}")
    return number
