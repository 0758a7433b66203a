"""From records of a file to structures: keys to fields, units to eqff's, shapes, charge and spin state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch

from eqff.data import fields as table
from eqff.data.atomic_data import AtomicData
from eqff.data.columns import unknown
from eqff.data.electrons import check_state, lowest_multiplicity
from eqff.data.external import EXTERNAL, stated
from eqff.data.keys import DERIVED, KeyMap, require_same
from eqff.data.neighbours import check_cell
from eqff.data.records import Record
from eqff.data.units import conversion, parse_unit, typed
from eqff.data.values import DERIVE, numeric, one_number, shaped
from eqff.errors import ConfigError, DataError, did_you_mean

Multiplicity = float | Literal["lowest"]

_DIGITS = 1e-3
"""Relative and absolute; files write few digits of what can be computed from each other."""
_LENGTHS_BESIDE = ("external_positions", "external_widths")
"""In the unit of positions, unless one of their own is stated."""


class Converter:
    """Turns records into `AtomicData`.

    Args:
        keys: Key of the file to field; what is not named is recognised where usage is common (`eqff.data.keys`).
        units: Field to unit of the file, e.g. ``{"energy": "kcal/mol", "positions": "bohr"}``. What is not named is
            taken in the unit that the file states, else in eqff's own.
        total_charge: For frames that state none.
        multiplicity: The same; ``"lowest"`` is the lowest one that the electron count allows.
        labels: The only labels to take; all by default.
        synonyms: Keys that the format uses for fields.
        units_known: Whether values are in eqff's units where nothing else is said; if not, saying nothing is an error.

    Attributes:
        used: How often each (key, field) was read.
        unused: How often each key was seen and not read.
        notes: By key, what was left out and why.
    """

    def __init__(
        self,
        keys: Mapping[str, str | None] | None = None,
        units: Mapping[str, str] | None = None,
        total_charge: float | None = None,
        multiplicity: Multiplicity | None = None,
        labels: tuple[str, ...] | None = None,
        *,
        synonyms: Mapping[str, str] | None = None,
        units_known: bool = True,
    ):
        self.key_map = KeyMap(keys, labels, synonyms)
        self.units_known = units_known
        self.units = dict(units or {})
        for name, unit in self.units.items():
            conversion(unit, table.field(name).unit, f"'{name}'")
        if isinstance(multiplicity, str) and multiplicity != "lowest":
            raise ConfigError(f"multiplicity is '{multiplicity}'.{did_you_mean(multiplicity, ['lowest'])} Or a number.")
        self.total_charge = total_charge
        self.multiplicity = multiplicity
        self.used: Counter[tuple[str, str]] = Counter()
        self.unused: Counter[str] = Counter()
        self.notes: dict[str, str] = {}

    def __call__(self, record: Record) -> AtomicData:
        """One structure.

        Raises:
            DataError: Names file, frame, key and remedy.
        """
        values = self._values(record)
        lengths = self.factor(record, "positions", "positions")
        cell = self._cell(record, lengths)
        charge, multiplicity = self._state(record, values)
        if "stress" in values and not np.any(record.pbc):
            self.notes.setdefault("stress", f"left out: stress of structures without a cell ({record.place})")
            del values["stress"]
        tensors = {name: shaped(name, value, record) for name, value in values.items() if name in table.FIELDS}
        optional = [name for name in table.optional_inputs() if name not in EXTERNAL]
        for name in optional:
            tensors.setdefault(name, torch.from_numpy(unknown(name, len(record.numbers), 1)))
        return AtomicData(
            num_nodes=len(record.numbers),
            numbers=torch.tensor(np.asarray(record.numbers), dtype=torch.int64),
            positions=torch.tensor(np.asarray(record.positions, dtype=np.float64) * lengths),
            cell=torch.tensor(cell)[None],
            pbc=torch.tensor(np.asarray(record.pbc, dtype=bool))[None],
            total_charge=torch.tensor([float(charge)], dtype=torch.float64),
            multiplicity=torch.tensor([float(multiplicity)], dtype=torch.float64),
            group=str(values.get("group", "")),
            config_type=str(values.get("config_type", "")),
            level_of_theory=str(values.get("level_of_theory", "")),
            source=record.source,
            frame=record.frame,
            **{name: tensors[name] for name in optional},
            **stated(tensors, record.place),
            **{name: tensors[name] for name in table.names("label") if name in tensors},
        )

    def _values(self, record: Record) -> dict[str, Any]:
        """What the record holds, by target, in eqff's units; derived fields computed."""
        values: dict[str, Any] = {}
        origin: dict[str, tuple[str, str]] = {}
        taken = set()
        for target in self.key_map.candidates(record):
            key = self.key_map.choose(record, target)
            raw = record.value(key)
            taken.add(key)
            self.used[key, target] += 1
            field_name = DERIVED.get(target, target)
            if field_name not in table.FIELDS:
                values[target] = raw
                continue
            value = numeric(raw, key, record) * self.factor(record, field_name, key)
            if target == "quadrupole" and self._has_trace(value, key, record):
                continue
            if target in DERIVE:
                value = DERIVE[target](shaped(field_name, value, record).numpy())
            if field_name in values:  # multiplicity and unpaired electrons, for instance
                before, meant = origin[field_name]
                own = (before, values[field_name])
                require_same(record, field_name, own, (key, value), meant, _DIGITS)
            values[field_name], origin[field_name] = value, (key, target)
        self.unused.update(key for key in (*record.structure, *record.atoms) if key not in taken)
        return values

    def _has_trace(self, matrix: np.ndarray, key: str, record: Record) -> bool:
        """Whether a quadrupole is a second moment: then left out with a note, or refused if the user named it."""
        trace = float(np.trace(matrix.reshape(3, 3))) if matrix.size == 9 else 0.0
        if abs(trace) <= 1e-3 * max(1.0, float(np.abs(matrix).max())):
            return False
        text = (
            f"'{key}' has a trace ({trace:.4g} e·Å² in frame {record.frame} of {record.source}), but the field "
            "quadrupole is traceless; if it is the second moment sum q r r, say so: "
            f"'data.keys={{{key}: second_moment}}'"
        )
        if key in self.key_map.keys:
            raise DataError(f"{record.place}: {text}.")
        self.notes.setdefault(key, f"left out: {text}")
        return True

    def factor(self, record: Record, name: str, key: str) -> float:
        """From the unit of a record's key to that of the field ``name``.

        Raises:
            ConfigError: The unit measures something else.
            DataError: Nobody says what it is.
        """
        unit = self.units.get(name) or record.units.get(key)
        if unit is None and name in _LENGTHS_BESIDE:
            unit = self.units.get("positions") or record.units.get("positions")
        own = table.field(name).unit
        if unit is not None:
            return conversion(unit, own, f"'{key}' ({record.place})")
        if not self.units_known and parse_unit(own or "1")[1][:2] != (0, 0):
            raise DataError(
                f"{record.place}: the unit of '{key}' is nowhere stated, and files of this kind have no usual one. "
                f"Say it: 'data.units={{{name}: {typed(own)}}}' if it is {own} (a leading minus turns the sign, for "
                "gradients)."
            )
        return 1.0

    def _cell(self, record: Record, lengths: float) -> np.ndarray:
        cell = np.asarray(record.cell, dtype=np.float64).reshape(3, 3)
        if not np.any(record.pbc):
            return np.zeros((3, 3))  # the box around a molecule means nothing
        own_unit = "cell" in self.units or "cell" in record.units
        cell = cell * (self.factor(record, "cell", "cell") if own_unit else lengths)
        check_cell(cell, record.pbc, record.place)
        return cell

    def _state(self, record: Record, values: dict[str, Any]) -> tuple[float, float]:
        charge = values.pop("total_charge", self.total_charge)
        multiplicity = values.pop("multiplicity", self.multiplicity)
        for name, value in (("total charge", charge), ("multiplicity (2S+1)", multiplicity)):
            if value is None:
                raise DataError(_nowhere(name, record))
        charge = one_number("total_charge", charge, record)
        if isinstance(multiplicity, str):
            multiplicity = lowest_multiplicity(record.numbers, charge, record.place)
        multiplicity = one_number("multiplicity", multiplicity, record)
        check_state(record.numbers, charge, multiplicity, record.place)
        return round(charge), multiplicity


def _nowhere(name: str, record: Record) -> str:
    setting = name.split(" (")[0].replace(" ", "_")
    more = "; lowest takes the lowest that the electrons allow" if setting == "multiplicity" else ""
    return (
        f"{record.place}: the {name} is nowhere given, and eqff does not guess it ({record.keys_text()}). If a key "
        f"has it, name it: 'data.keys={{KEY: {setting}}}'. If it is the same for all frames that don't say: "
        f"data.{setting}=NUMBER{more} ({setting}=NUMBER in Python, and in commands without a section data)."
    )
