"""Charge equilibration as a head: the battery, with both solvers."""

import pytest
import torch

from eqff.errors import ModelError
from eqff.heads.charge_equilibration import ChargeEquilibration
from eqff.testing.battery import LOCAL_ENERGY, MINIMAL_BACKBONE, PotentialBattery

TARGET = "eqff.heads.charge_equilibration.ChargeEquilibration"


class Equilibration(PotentialBattery):
    head = {"_target_": TARGET, "hidden": 4, "max_width": 0.8, "cutoff": 6.5, "accuracy": 1e-12}

    @property
    def model(self):
        terms = {"local": LOCAL_ENERGY, "equilibration": {"_target_": "eqff.terms.field_energy.FieldEnergy"}}
        return {"backbone": MINIMAL_BACKBONE, "heads": {"charges": self.head}, "terms": terms}

    def test_far_fragments_add_up(self) -> None:
        pytest.skip("equilibration moves charge between fragments however far apart they are")


class TestDense(Equilibration):
    pass


class TestIterative(Equilibration):
    head = {**Equilibration.head, "dense_up_to": 1, "tolerance": 1e-13}


def test_widths_that_cannot_end_within_the_cutoff():
    with pytest.raises(ModelError, match="Raise cutoff to"):
        ChargeEquilibration(4, 2, (1, 8), max_width=3.0)


def test_parameters_start_where_they_should():
    head = ChargeEquilibration(4, 2, (1, 8), hardness=7.0)
    torch.testing.assert_close(torch.nn.functional.softplus(head.raw_hardness), torch.full((2,), 7.0))
    torch.testing.assert_close(1.5 * torch.sigmoid(head.raw_width), torch.tensor([0.31, 0.66]))
