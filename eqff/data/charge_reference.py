"""The part of a structure's reference energy that depends on its total charge, and on nothing that moves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from ase.data import chemical_symbols
from torch import Tensor

from eqff.errors import ConfigError


@dataclass(frozen=True)
class ChargeReference:
    """What is added to the sum of the elements' energies for a total charge Q: slope · Q + offsets[Q] + ionization.

    One of the three is used at a time:

    - ``slope``: the only form that is additive, so the only one that keeps separated fragments size-consistent.
    - ``offsets``: one energy per total charge, whatever the structure.
    - ``ions``: the energy of taking Q electrons from (adding -Q to) the separated atoms, wherever that costs least. An
      isolated ion has exactly its own energy. As E(q) of an atom is convex, the cheapest steps are taken one by one.

    Attributes:
        slope: eV/e.
        offsets: Total charge to eV; empty for none. Charges that it lacks have no energy.
        ions: Z to charge to the energy of the ion above that of the neutral atom in eV; empty for none.

    Raises:
        ConfigError: An ion's charges have a gap, or its energies are not convex.
    """

    slope: float = 0.0
    offsets: dict[int, float] = field(default_factory=dict)
    ions: dict[int, dict[int, float]] = field(default_factory=dict)

    def __post_init__(self):
        numbers = [self.slope, *self.offsets.values(), *(e for table in self.ions.values() for e in table.values())]
        if not all(math.isfinite(number) for number in numbers):
            raise ConfigError("Reference energies of charge states have to be finite numbers.")
        for number, table in self.ions.items():
            _check_convex(number, table)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any] | None) -> ChargeReference | None:
        """From plain values, also after JSON made the keys strings; None stays None."""
        if data is None:
            return None
        return cls(
            float(data["slope"]),
            {int(charge): float(energy) for charge, energy in data["offsets"].items()},
            {int(z): {int(q): float(e) for q, e in table.items()} for z, table in data["ions"].items()},
        )

    def tensors(self) -> dict[str, Tensor]:
        """The same as float64 and int64 tensors, as `charge_energy` takes them."""
        tables = {
            "slope": torch.tensor(self.slope, dtype=torch.float64),
            "offset_charges": torch.tensor(sorted(self.offsets), dtype=torch.int64),
            "offset_energies": torch.tensor([self.offsets[q] for q in sorted(self.offsets)], dtype=torch.float64),
        }
        for name, sign in (("removal", 1), ("addition", -1)):
            steps = _steps(self.ions, sign)
            tables[f"{name}_elements"] = torch.tensor([number for _, number in steps], dtype=torch.int64)
            tables[f"{name}_energies"] = torch.tensor([energy for energy, _ in steps], dtype=torch.float64)
        return tables

    def describe(self) -> list[tuple[str, str]]:
        """Rows of a table for people: what, and its energy."""
        rows = [("per unit of total charge", f"{self.slope:.6f}")] if self.slope else []
        rows += [(f"total charge {signed(charge)}", f"{energy:.6f}") for charge, energy in sorted(self.offsets.items())]
        for number, table in sorted(self.ions.items()):
            symbol = chemical_symbols[number]
            rows += [(f"{symbol}{charge:+d} above {symbol}", f"{e:.6f}") for charge, e in sorted(table.items())]
        return rows


def signed(charge: int) -> str:
    """A charge as people write it: +1, 0, -1."""
    return f"{charge:+d}" if charge else "0"


def charge_energy(tables: Mapping[str, Tensor], total_charge: Tensor, counts: Tensor) -> Tensor:
    """The energy of a `ChargeReference` for B structures, in eV.

    Args:
        tables: From `ChargeReference.tensors`.
        total_charge: Q in e, (B,).
        counts: Atoms of each atomic number, (B, Z).

    Returns:
        (B,) float64; NaN where there is no energy for a total charge.
    """
    charge, counts = total_charge.to(torch.float64).round(), counts.to(torch.float64)
    energy = tables["slope"] * charge
    if len(tables["offset_charges"]):
        same = charge[:, None] == tables["offset_charges"]
        offset = torch.where(same, tables["offset_energies"], 0.0).sum(dim=1)
        energy = energy + torch.where(same.any(dim=1), offset, torch.nan)
    if len(tables["removal_elements"]) or len(tables["addition_elements"]):
        energy = energy + _ionization(charge, counts, tables["removal_elements"], tables["removal_energies"])
        energy = energy + _ionization(-charge, counts, tables["addition_elements"], tables["addition_energies"])
    return energy


def _ionization(amount: Tensor, counts: Tensor, elements: Tensor, energies: Tensor) -> Tensor:
    """The cost of ``amount`` (B,) steps, the cheapest first; steps are sorted by energy, each once for every atom."""
    amount, available = amount.clamp(min=0), counts[:, elements]
    taken = torch.minimum((amount[:, None] - (available.cumsum(dim=1) - available)).clamp(min=0), available)
    return torch.where(available.sum(dim=1) >= amount, (taken * energies).sum(dim=1), torch.nan)


def _steps(ions: Mapping[int, Mapping[int, float]], sign: int) -> list[tuple[float, int]]:
    """Energy and element of each step away from neutral in the direction of ``sign``, ascending in energy."""
    steps = []
    for number, table in ions.items():
        energies = [{0: 0.0, **table}[sign * step] for step in range(_reach(table, sign) + 1)]
        steps += [(after - before, number) for before, after in zip(energies, energies[1:], strict=False)]
    return sorted(steps)


def _reach(table: Mapping[int, float], sign: int) -> int:
    return max((sign * charge for charge in table), default=0) if table else 0


def _check_convex(number: int, table: Mapping[int, float]) -> None:
    symbol, known = chemical_symbols[number], {0: 0.0, **table}
    charges = sorted(known)
    if charges != list(range(charges[0], charges[-1] + 1)):
        raise ConfigError(f"Reference energies of {symbol}: charges {charges} leave some out; give all in between.")
    energies = [known[charge] for charge in charges]
    steps = [after - before for before, after in zip(energies, energies[1:], strict=False)]
    if any(later <= earlier for earlier, later in zip(steps, steps[1:], strict=False)):
        shown = ", ".join(f"{signed(charge)}: {energy:.3f}" for charge, energy in sorted(known.items()))
        raise ConfigError(
            f"Reference energies of {symbol} above the neutral atom ({shown} eV): every electron taken has to cost "
            "more than the one before. Check signs and units, and that each is the ion's ground state."
        )
