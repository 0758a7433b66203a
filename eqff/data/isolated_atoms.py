"""Energies of isolated atoms and ions: given, from a file, or from frames of one atom."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase.data import atomic_numbers, chemical_symbols

from eqff.data.charge_reference import ChargeReference
from eqff.data.convert import Converter
from eqff.data.paths import PathLike, resolve_paths, take
from eqff.data.readers import reader_for
from eqff.data.reading import Reading, guarded
from eqff.data.records import Record
from eqff.errors import ConfigError, DataError, did_you_mean

IonEnergies = dict[int, dict[int, float]]
"""Z to charge to eV."""


@dataclass(frozen=True)
class AtomTable:
    """Energies of isolated atoms and ions.

    Attributes:
        energies: Z to charge to eV.
        method: Where they come from.
    """

    energies: IonEnergies
    method: str

    def neutral(self, elements: Iterable[int]) -> dict[int, float]:
        """Z to eV of neutral atoms; a DataError names what is missing."""
        found = {z: table[0] for z, table in self.energies.items() if 0 in table}
        missing = set(elements) - set(found)
        if missing:
            raise DataError(
                f"Reference energies ({self.method}): {symbols(missing)} missing, there are only "
                f"{symbols(found) or 'none'}. Add them, or fit all by data.reference_energies=least_squares."
            )
        return {z: found[z] for z in sorted(elements)}

    def ions(self, elements: Iterable[int]) -> ChargeReference:
        """What taking electrons costs; a DataError says if there is no ion at all."""
        kept = {z: self.energies[z] for z in sorted(elements)}
        above = {z: {q: e - table[0] for q, e in table.items() if q != 0} for z, table in kept.items()}
        if not any(above.values()):
            raise DataError(
                f"Reference energies ({self.method}) hold no ion, which data.charge_reference=isolated_ions needs. Add "
                "isolated atoms with their charge, or give them: data.reference_energies={H: {0: -13.6, 1: 0.0}, ...}."
            )
        return ChargeReference(ions={z: table for z, table in above.items() if table})


def given_atoms(table: Mapping[Any, Any]) -> IonEnergies:
    """From element symbols (or atomic numbers) to eV, or to charge to eV.

    Raises:
        ConfigError: A symbol that is no element, or an energy that is no number.
    """
    values: IonEnergies = {}
    for symbol, energy in table.items():
        number = atomic_numbers.get(str(symbol)) or (int(symbol) if str(symbol).isdigit() else None)
        if number is None or number >= len(chemical_symbols):
            known = [name for name in atomic_numbers if name != "X"]
            raise ConfigError(f"data.reference_energies: '{symbol}' is no element.{did_you_mean(str(symbol), known)}")
        states = energy if isinstance(energy, Mapping) else {0: energy}
        values[number] = charges_to_energies(states, f"data.reference_energies of {symbol}")
    return values


def atoms_from_file(
    path: PathLike, keys: Mapping[str, str | None], units: Mapping[str, str]
) -> tuple[list[tuple[int, int, float]], set[str]]:
    """Z, charge and eV of each frame of a file of isolated atoms, of which charge (then 0) and multiplicity need not be
    stated; and the levels of theory that they declare, empty where none is.

    Raises:
        DataError: A frame has more than one atom or no energy, or its unit is nowhere stated.
    """
    reading, found, levels = Reading(keys, units, labels=("energy",)), [], set()
    for file, part in resolve_paths(path):
        converter = reading.converter(reader_for(file))
        for record in take(guarded(reader_for(file).records(file), file), part):
            found.append(_atom(record, converter))
            levels.add(_level(record, converter))
    return found, levels


def _atom(record: Record, converter: Converter) -> tuple[int, int, float]:
    candidates = converter.key_map.candidates(record)
    if len(record.numbers) != 1 or "energy" not in candidates:
        raise DataError(f"{record.place}: reference energies need one atom and an energy ({record.keys_text()}).")
    charge = record.value(candidates["total_charge"][0]) if "total_charge" in candidates else 0
    key = converter.key_map.choose(record, "energy")
    energy = float(np.asarray(record.value(key)).item()) * converter.factor(record, "energy", key)
    if not np.isfinite(energy):
        raise DataError(f"{record.place}: the energy of an isolated atom is {energy}. Leave the frame out.")
    return int(record.numbers[0]), round(float(np.asarray(charge).item())), energy


def _level(record: Record, converter: Converter) -> str:
    if "level_of_theory" not in converter.key_map.candidates(record):
        return ""
    return str(record.value(converter.key_map.choose(record, "level_of_theory")))


def charges_to_energies(table: Mapping[Any, Any], place: str) -> dict[int, float]:
    """A table of charge to eV, checked; ``place`` is where it stands, for messages."""
    try:
        broken = [charge for charge in table if float(charge) != round(float(charge))]
        if broken:
            raise ValueError(f"{broken[0]} is no whole charge")
        return {round(float(charge)): float(energy) for charge, energy in table.items()}
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{place}: {dict(table)} should be charge: energy in eV, all numbers ({error}).") from error


def lowest_energies(singles: Iterable[tuple[int, int, float]]) -> IonEnergies:
    """The lowest energy of each element and charge among Z, charge and eV of isolated atoms."""
    lowest: IonEnergies = {}
    for number, charge, energy in singles:
        states = lowest.setdefault(number, {})
        states[charge] = min(energy, states.get(charge, np.inf))
    return lowest


def symbols(numbers: Iterable[int]) -> str:
    """Element symbols for messages, by atomic number."""
    return ", ".join(chemical_symbols[number] for number in sorted(numbers))
