"""Reference energies as they are kept and shown: of elements, of charge states, of other levels of theory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from ase.data import chemical_symbols
from rich.table import Table

from eqff.data.charge_reference import ChargeReference, charge_energy, signed
from eqff.data.energy_rows import WIDTH, EnergyRows
from eqff.errors import DataError


@dataclass(frozen=True)
class ReferenceSet:
    """What is subtracted from energies before anything is learned.

    Attributes:
        energies: Atomic number to eV.
        method: How they came about.
        notes: What to keep in mind about them.
        charge: What depends on the total charge; None for nothing.
        level: The level of theory that the model's energies are on; empty where none is declared.
        level_offsets: Other level of theory to Z to eV: what its energies lie above those of ``level`` per atom.
        odd: How energies of some files lie apart from the rest, as if of another level; empty if none do. One of
            ``notes``.
    """

    energies: dict[int, float]
    method: str
    notes: tuple[str, ...] = field(default=())
    charge: ChargeReference | None = None
    level: str = ""
    level_offsets: dict[str, dict[int, float]] = field(default_factory=dict)
    odd: str = ""

    def of(self, rows: EnergyRows) -> np.ndarray:
        """Reference energies of structures in eV, (F,) float64; NaN where a charge state has none."""
        total = rows.counts @ per_number(self.energies)
        if self.charge is not None:
            charges, counts = torch.from_numpy(rows.charges), torch.from_numpy(rows.counts)
            total = total + charge_energy(self.charge.tensors(), charges, counts).numpy()
        for level, offsets in self.level_offsets.items():
            total = total + (rows.levels == level) * (rows.counts @ per_number(offsets))
        return total

    def above(self, rows: EnergyRows) -> np.ndarray:
        """Energies per atom above the reference in eV, (F,); NaN where there is no energy."""
        return (rows.energies - self.of(rows)) / rows.sizes

    def table(self) -> Table:
        """For the terminal."""
        table = Table("", "E0 (eV)", *(f"{level} above it" for level in self.level_offsets))
        for number, energy in sorted(self.energies.items()):
            others = (
                f"{offsets[number]:+.6f}" if number in offsets else "-" for offsets in self.level_offsets.values()
            )
            table.add_row(chemical_symbols[number], f"{energy:.6f}", *others)
        for row in self.charge.describe() if self.charge else ():
            table.add_row(*row)
        return table

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        charge = None if self.charge is None else vars(self.charge)
        about = {"method": self.method, "notes": list(self.notes), "eV": self.energies, "charge_states": charge}
        return about | {"level_of_theory": self.level, "level_offsets": self.level_offsets}


def per_number(energies: Mapping[int, float]) -> np.ndarray:
    """A column of energies by atomic number, (`WIDTH`,), zero where there is none."""
    column = np.zeros(WIDTH)
    column[list(energies)] = list(energies.values())
    return column


def require_charge_references(reference: ReferenceSet, rows: EnergyRows, where: str) -> None:
    """Checks that every structure's charge state has a reference energy, before anything is computed with it.

    Args:
        reference: Of the model.
        rows: The structures.
        where: What they are, for messages.

    Raises:
        DataError: Names the charges that have none.
    """
    missing = np.isnan(reference.of(rows))
    if missing.any():
        charges = ", ".join(map(signed, np.unique(rows.charges[missing]).tolist()))
        files = ", ".join(np.unique(rows.sources[missing]).tolist())
        raise DataError(
            f"{where}: {int(missing.sum())} frames ({files}) have total charge {charges}, for which there is no "
            f"reference energy: the training set gave none. Leave them out, put such frames into the training set, "
            "or take a reference that covers every charge: data.charge_reference=linear or null."
        )
