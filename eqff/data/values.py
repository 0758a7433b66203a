"""Values of a file as numbers of the right shape, and fields that follow from others."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from ase.stress import voigt_6_to_full_3x3_stress

from eqff.data import fields as table
from eqff.data.records import Record
from eqff.errors import DataError

_SYMMETRIC = ("stress", "virial")


def _unpaired_to_multiplicity(unpaired: np.ndarray) -> np.ndarray:
    return unpaired + 1.0


def second_moment_to_quadrupole(moment: np.ndarray) -> np.ndarray:
    """Buckingham's 1/2 sum q (3 r r - r²) from sum q r r."""
    matrix = moment.reshape(3, 3)
    return 1.5 * matrix - 0.5 * np.trace(matrix) * np.eye(3)


def _transposed(charges: np.ndarray) -> np.ndarray:
    """Born charges [k, a, b] = d dipole_b / d position_ka from files that have a and b the other way around."""
    return charges.reshape(-1, 3, 3).transpose(0, 2, 1)


DERIVE = {
    "unpaired_electrons": _unpaired_to_multiplicity,
    "second_moment": second_moment_to_quadrupole,
    "born_charges_transposed": _transposed,
}


def numeric(raw: object, key: str, record: Record) -> np.ndarray:
    """The value of a key as float64; a DataError if it is no number."""
    try:
        return np.asarray(raw, dtype=np.float64)
    except (TypeError, ValueError) as error:
        names = "If these are names, as of fragments, number them: np.unique(names, return_inverse=True)[1]. "
        raise DataError(
            f"{record.place}: '{key}' should be a number, but is {raw!r}. {names if np.ndim(raw) else ''}If it is no "
            f"label, say 'data.keys={{{key}: null}}'."
        ) from error


def one_number(name: str, value: Any, record: Record) -> float:
    """The one number that the field ``name`` is; a DataError if there are several."""
    if np.size(value) != 1:
        raise DataError(
            f"{record.place}: the {name} should be one number, but has shape {np.shape(value)}. If its key means "
            f"something else, leave it alone ('data.keys={{KEY: null}}') and give it: 'data.keys={{KEY: {name}}}' or "
            f"data.{name}=..."
        )
    return float(np.asarray(value).item())


def shaped(name: str, value: np.ndarray, record: Record) -> torch.Tensor:
    """The value with the table's shape, (1, ...) or (N, ...), float64; int64 where it counts something."""
    row = table.field(name)
    shape = row.shape or ()
    if name in _SYMMETRIC and value.shape == (6,):
        value = voigt_6_to_full_3x3_stress(value)
    width = int(np.prod(shape, dtype=int))
    rows = {"atom": len(record.numbers), "external": value.size // width}.get(row.level, 1)
    if value.size != rows * width:
        needed = shape if row.level == "structure" else (rows, *shape)
        text = f"are {needed} numbers" if needed else "is one"
        raise DataError(
            f"{record.place}: '{name}' has shape {value.shape}; needed {text} for {len(record.numbers)} atoms. If a "
            "key means something else, leave it alone: 'data.keys={KEY: null}'."
        )
    found = torch.tensor(np.ascontiguousarray(value.reshape(rows, *shape)))
    return _whole(name, found, record) if row.integer else found


def _whole(name: str, value: torch.Tensor, record: Record) -> torch.Tensor:
    """The same as int64; a DataError if there is a fraction."""
    if not torch.equal(value, value.round()):
        raise DataError(
            f"{record.place}: '{name}' holds whole numbers, but here {value[value != value.round()][0]:g}. If its key "
            "means something else, leave it alone: 'data.keys={KEY: null}'."
        )
    return value.to(torch.int64)
