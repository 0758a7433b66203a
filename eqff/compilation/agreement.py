"""Compiled results held against plain ones."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from eqff.errors import ModelError

AGREEMENT = {torch.float32: 1e-3, torch.float64: 1e-8}
"""Largest difference to the plain step, relative to the largest value of a field: some thousand roundings."""

LEARNED = 10.0
"""eV/atom: energies are judged as if they were no larger. What lies beyond are the elements' reference energies,
thousands of eV that are added exactly; relative to them everything else would be rounding."""


def size_of(name: str, expected: Tensor, atoms: int) -> float:
    """What a difference is relative to: a field's largest value, of energies no more than `LEARNED`.

    Args:
        name: Of the field.
        expected: Its values, a row for each atom or structure.
        atoms: Of all structures.
    """
    size = float(expected.abs().max())
    return min(size, LEARNED * atoms / len(expected)) if name.startswith(("energy", "atom_energy")) else size


def require_agreement(compiled: Mapping[str, Tensor], plain: Mapping[str, Tensor], least: float = 1e-6) -> None:
    """Refuses compiled results that differ from plain ones by more than rounding.

    Args:
        compiled: Fields by name.
        plain: The same.
        least: Smaller values are looked at as if they were of this size: sums that cancel, say.

    Raises:
        ModelError: Names the field and the difference. Compilers have been seen to be wrong without a word.
    """
    for name, expected in ((name, value.detach()) for name, value in plain.items()):
        if not expected.is_floating_point() or expected.numel() == 0:
            continue
        size = max(size_of(name, expected, len(plain["forces"])), least)
        difference = float((compiled[name].detach() - expected).abs().max())
        if not difference <= AGREEMENT.get(plain["forces"].dtype, 1e-3) * size:
            raise ModelError(
                f"The compiled step gives other {name} than the plain one: they differ by {difference:.3g}, with "
                f"values up to {float(expected.abs().max()):.3g}. torch {torch.__version__} compiles this model "
                "wrongly; train with training.compile=false."
            )
