"""Checks that charges add up to what a structure has."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from ase import Atoms
from torch import Tensor

from eqff.data.fields import PER_PASS
from eqff.testing.base import Battery
from eqff.testing.structures import molecule
from eqff.testing.symmetry import DTYPES
from eqff.testing.tolerances import TOTAL

STATES = {"charges": lambda atoms: atoms.info["total_charge"], "spin_charges": lambda a: a.info["multiplicity"] - 1}
"""What the values of a field add up to in a structure: Q, and the number of unpaired electrons."""


class ConservationChecks(Battery):
    """Charges and spin charges have the totals of their structure, after every pass too.

    Attributes:
        conserves: Fields of `STATES` that have the right total, if they are predicted at all.
    """

    conserves: tuple[str, ...] = tuple(STATES)

    @pytest.mark.parametrize("dtype", DTYPES, ids=str)
    def test_totals_hold(self, dtype: torch.dtype) -> None:
        """For molecules, ions, slabs and crystals in one batch."""
        structures = [*self.structures().values(), molecule(51, 8, self.elements, total_charge=-3)]
        prediction = self.predict(self.potential(dtype), structures, dtype)
        for name in self.conserves:
            expected = torch.tensor([float(STATES[name](atoms)) for atoms in structures], dtype=torch.float64)
            for values in _every_pass(prediction, name):
                error = float((_sums(values, structures) - expected).abs().max())
                assert error <= TOTAL[dtype], f"{name} miss their total by {error:.1e}, allowed is {TOTAL[dtype]:.0e}"


def _every_pass(prediction: Mapping[str, Tensor], name: str) -> list[Tensor]:
    found = [prediction[name]] if name in prediction else []
    passes = prediction.get(PER_PASS + name)
    return found if passes is None else [*found, *passes.unbind(dim=1)]


def _sums(values: Tensor, structures: list[Atoms]) -> Tensor:
    parts = values.to(torch.float64).split([len(atoms) for atoms in structures])
    return torch.stack([part.sum() for part in parts])
