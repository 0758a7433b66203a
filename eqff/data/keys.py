"""From a file's keys to fields: what is recognised by itself, and what the user says."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from eqff.data import fields as table
from eqff.data.atomic_data import META
from eqff.data.records import Record
from eqff.errors import ConfigError, DataError, did_you_mean

_PREFIXES = ("ref_", "dft_", "qm_", "reference_")
_STRUCTURE = {
    "total_energy": "energy",
    "charge": "total_charge",
    "net_charge": "total_charge",
    "spin": "multiplicity",
    "spin_multiplicity": "multiplicity",
    "mult": "multiplicity",
    "unpaired_electrons": "unpaired_electrons",
    "virials": "virial",
    "dipole_moment": "dipole",
    "external_field": "electric_field",
    "efield": "electric_field",
    "mol_id": "group",
    "molecule": "group",
    "subset": "config_type",
    "theory": "level_of_theory",
    "theory_level": "level_of_theory",
}
_ATOM = {
    "force": "forces",
    "partial_charges": "charges",
    "atomic_charges": "charges",
    "spin_populations": "spin_charges",
    "spin_densities": "spin_charges",
}
DERIVED = {
    "unpaired_electrons": "multiplicity",
    "second_moment": "quadrupole",
    "born_charges_transposed": "born_charges",
}
"""What a key may also be mapped to, and the field that is computed from it."""

_STATE = ("total_charge", "multiplicity")


def targets() -> set[str]:
    """Everything that a key can be mapped to."""
    return {*table.names("label"), *_STATE, *table.optional_inputs(), *DERIVED, *META[:3]}


def level_of(target: str) -> str:
    """Whether values of a target are per "atom" or stated of the "structure"."""
    field = _field(target)
    return "atom" if field in table.FIELDS and table.FIELDS[field].level == "atom" else "structure"


def recognise(key: str, level: str) -> str | None:
    """The field that a key of a file stands for by common usage, or None.

    Case and a prefix such as ``REF_`` don't matter. ``spin`` is taken for the multiplicity 2S+1, which the electron
    count then confirms or refutes, because 2S has the other parity.
    """
    word = key.lower()
    for prefix in _PREFIXES:
        word = word.removeprefix(prefix)
    found = (_STRUCTURE if level == "structure" else _ATOM).get(word, word)
    return found if found in targets() and level_of(found) == level else None


class KeyMap:
    """Finds, in each record, the key of every field.

    Args:
        keys: What the user says: key of the file to field (or ``group``, ``config_type``, ``level_of_theory``,
            ``unpaired_electrons``, ``second_moment``), or to None to leave the key alone.
        labels: If given, the only labels to take.
        synonyms: Keys that the format uses for fields.

    Raises:
        ConfigError: A target that does not exist.
    """

    def __init__(
        self,
        keys: Mapping[str, str | None] | None = None,
        labels: tuple[str, ...] | None = None,
        synonyms: Mapping[str, str] | None = None,
    ):
        self.synonyms = dict(synonyms or {})
        self.keys = dict(keys or {})
        self._named = {_field(target) for target in self.keys.values() if target is not None}
        for key, target in self.keys.items():
            if target is not None and target not in targets():
                raise ConfigError(f"data.keys: '{key}' can't be mapped to '{target}'.{did_you_mean(target, targets())}")
        for label in labels or ():
            table.field(label)
        self.labels = labels
        self._cache: dict[tuple[frozenset[str], frozenset[str]], dict[str, list[str]]] = {}

    def candidates(self, record: Record) -> dict[str, list[str]]:
        """For each target, the keys of the record that may hold it; what the user named comes alone."""
        present = (frozenset(record.structure), frozenset(record.atoms))
        if present not in self._cache:
            found: dict[str, list[str]] = {}
            for level, keys in zip(("structure", "atom"), present, strict=True):
                for key in sorted(keys):
                    self._add(found, key, level)
            self._cache[present] = found
        return self._cache[present]

    def _add(self, found: dict[str, list[str]], key: str, level: str) -> None:
        if key in self.keys:
            target = self.keys[key]
        else:
            target = self.synonyms.get(key) or recognise(key, level)
            if target is not None and _field(target) in self._named:
                return  # the user said where this one is
        if target is None or not self._wants(_field(target)):
            return
        found.setdefault(target, []).append(key)

    def _wants(self, field: str) -> bool:
        return self.labels is None or field in self.labels or field not in table.names("label")

    def choose(self, record: Record, target: str) -> str:
        """The one key of a target; several must hold the same numbers.

        Raises:
            DataError: They differ, so the user has to say which one is meant.
        """
        first, *others = self.candidates(record)[target]
        for other in others:
            require_same(record, target, (first, record.value(first)), (other, record.value(other)), target)
        return first


def require_same(
    record: Record,
    target: str,
    one: tuple[str, object],
    other: tuple[str, object],
    meant: str,
    tolerance: float = 1e-9,
) -> None:
    """Checks that two keys that may both be the ``target`` say the same.

    Args:
        record: That has both.
        target: See `targets`.
        one: Key and value.
        other: Likewise.
        meant: What the first one is mapped to.
        tolerance: Relative and absolute.

    Raises:
        DataError: They differ, so the user has to say which one is meant.
    """
    if not _same(one[1], other[1], tolerance):
        raise DataError(
            f"{record.place}: {one[0]} and {other[0]} may both be the {target}, and they differ (for example "
            f"{_sample(one[1])} and {_sample(other[1])}). Say which one: 'data.keys={{{one[0]}: {meant}}}'."
        )


def _field(target: str) -> str:
    """The field that a target gives."""
    return DERIVED.get(target, target)


def _same(first: object, second: object, tolerance: float) -> bool:
    a, b = np.asarray(first), np.asarray(second)
    if a.dtype.kind in "OSU" or b.dtype.kind in "OSU":
        return str(first) == str(second)
    return a.size == b.size and np.allclose(a.ravel(), b.ravel(), rtol=tolerance, atol=tolerance)


def _sample(value: object) -> str:
    array = np.asarray(value)
    return str(array.ravel()[0]) if array.size else "nothing"
