"""Predictions as ASE's calculators hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from ase.stress import full_3x3_to_voigt_6_stress
from torch import Tensor

from eqff.data import fields as table
from eqff.data.external import EXTERNAL_FORCES, EXTERNAL_POTENTIAL

TERMS = "energies_per_term"
MAGMOMS = "magmoms"
"""ASE's name for spin charges."""


def results_of(prediction: Mapping[str, Tensor], terms: Sequence[str], fields: Sequence[str]) -> dict[str, Any]:
    """Energies in eV, forces in eV/Å, fields by name, and what acts on external charges where there are some.

    Args:
        prediction: Of one structure.
        terms: Names of the energy terms.
        fields: Names of the fields.
    """
    energy = prediction["energy"].item()
    results: dict[str, Any] = {"energy": energy, "free_energy": energy, "forces": array(prediction["forces"])}
    results[TERMS] = {name: prediction[f"energy_{name}"].item() for name in terms}
    if EXTERNAL_FORCES in prediction:
        results |= {name: array(prediction[name]) for name in (EXTERNAL_FORCES, EXTERNAL_POTENTIAL)}
    for name in fields:
        value = array(prediction[name])
        results[name] = value if table.field(name).level == "atom" else value[0]
    if "spin_charges" in results:
        results[MAGMOMS] = results["spin_charges"]
    return results


def stress_of(virial: Tensor, atoms: Atoms) -> np.ndarray:
    """ASE's stress in Voigt order, eV/Å³: per volume of the whole cell, vacuum of a slab included.

    Args:
        virial: eV, (3, 3).
        atoms: Whose it is.

    Raises:
        PropertyNotImplementedError: They have fewer than three lattice vectors.
    """
    if atoms.cell.rank < 3:
        raise PropertyNotImplementedError(
            "Stress is energy per volume, and a cell with fewer than three lattice vectors has none. Give the "
            "atoms a cell (for a slab or wire, with the vacuum that you want to count), or ask for no stress."
        )
    return full_3x3_to_voigt_6_stress(-array(virial) / atoms.cell.volume)


def array(values: Tensor) -> np.ndarray:
    """Numbers of a tensor in double precision."""
    if values.requires_grad or not values.is_cpu:
        values = values.detach().cpu()
    return values.numpy().astype(np.float64)
