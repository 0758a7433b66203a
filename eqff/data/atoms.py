"""Between ASE's `Atoms` and `AtomicData`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import all_properties
from ase.calculators.singlepoint import SinglePointCalculator

from eqff.data import fields as table
from eqff.data.atomic_data import AtomicData
from eqff.data.convert import Converter, Multiplicity
from eqff.data.records import record_from_ase


def from_atoms(
    atoms: Atoms,
    *,
    total_charge: float | None = None,
    multiplicity: Multiplicity | None = None,
    keys: Mapping[str, str | None] | None = None,
    labels: tuple[str, ...] | None = None,
) -> AtomicData:
    """A structure from ASE, with whatever labels it carries.

    Args:
        atoms: Charge and spin state are taken from ``info`` (``total_charge`` or ``charge``; ``multiplicity`` or
            ``spin``, both 2S+1), labels from ``info``, ``arrays`` and an attached single-point calculator, if the
            structure is still the one that it was made for.
        total_charge: e, if ``info`` does not say.
        multiplicity: 2S+1 if ``info`` does not say, or ``"lowest"``.
        keys: Key to field where they are called otherwise; None as a field leaves a key alone.
        labels: The only labels to take; ``()`` for none.

    Raises:
        DataError: Charge or multiplicity are nowhere given, or can't be for this number of electrons.
    """
    converter = Converter(keys, total_charge=total_charge, multiplicity=multiplicity, labels=labels)
    if labels != () and _has_moved(atoms):
        atoms = atoms.copy()  # which leaves the calculator behind
    return converter(record_from_ase(atoms))


def _has_moved(atoms: Atoms) -> bool:
    """Whether the calculator's results are those of another geometry, which ASE doesn't give any more either."""
    changes = getattr(atoms.calc, "check_state", None)
    return changes is not None and bool(changes(atoms))


def to_atoms(data: AtomicData) -> Atoms:
    """An ASE structure with ``total_charge`` and ``multiplicity`` in ``info`` and the known labels.

    What ASE's calculators know (energy, forces, stress, dipole, charges) is attached as a single-point calculator,
    so that ASE's writers and readers keep it; other labels go to ``info`` and ``arrays`` under their field names.
    """
    atoms = Atoms(
        numbers=data.numbers.numpy(),
        positions=data.positions.numpy(),
        cell=data.cell[0].numpy(),
        pbc=data.pbc[0].numpy(),
    )
    atoms.info["total_charge"] = round(float(data.total_charge))
    atoms.info["multiplicity"] = round(float(data.multiplicity))
    stored = data.to_dict()
    for name in table.optional_inputs():
        level = table.field(name).level
        if name in stored and (level == "external" or bool((stored[name] != table.field(name).default).any())):
            (atoms.arrays if level == "atom" else atoms.info)[name] = _plain(stored[name], level != "structure")
    atoms.info.update({key: stored[key] for key in ("group", "config_type", "level_of_theory") if stored.get(key)})
    results = {}
    for name in data.labels:
        if not data.has(name):
            continue
        value = _plain(data[name], per_atom=table.field(name).level == "atom")
        if name in all_properties:
            results[name] = value
        elif table.field(name).level == "atom":
            atoms.arrays[name] = columns(np.asarray(value))
        else:
            atoms.info[name] = value
    if results:
        atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def _plain(value: torch.Tensor, per_atom: bool) -> np.ndarray | float:
    array = value.numpy()
    if per_atom:
        return array
    return float(array[0]) if array.ndim == 1 else array[0]


def columns(values: np.ndarray) -> np.ndarray:
    """Values of atoms as extxyz can hold them: tensors (N, 3, 3) row by row as (N, 9)."""
    return values.reshape(len(values), -1) if values.ndim > 2 else values
