"""Charges equilibrated within the passes, one channel: the battery and exact totals for each kind of weights."""

import pytest
import torch
from test_spin_equilibration import EquilibrationChecks

from eqff.errors import ConfigError
from eqff.exchange.charge_equilibration import NeutralChargeEquilibration
from eqff.nn.equilibration import LEAST_HARDNESS, LinearEquilibration

TARGET = "eqff.exchange.charge_equilibration.NeutralChargeEquilibration"


class TestLearned(EquilibrationChecks):
    exchange = {"_target_": TARGET, "hidden": 8}


class TestUniform(EquilibrationChecks):
    exchange = {"_target_": TARGET, "hidden": 8, "weights": "uniform"}


class TestInverseHardness(EquilibrationChecks):
    exchange = {"_target_": TARGET, "hidden": 0, "weights": "inverse_hardness"}


class TestIncrements(EquilibrationChecks):
    exchange = {"_target_": TARGET, "hidden": 8, "increments": True}


def test_linear_equilibration_is_the_minimum():
    """χ + η q is one number, the chemical potential, over all atoms of a structure."""
    read, batch = torch.randn(7, 2, dtype=torch.float64), torch.tensor([0, 0, 0, 0, 1, 1, 1])
    module = LinearEquilibration().double()
    charges = module(read, torch.tensor([1.0, -2.0], dtype=torch.float64), batch)
    hardness = LEAST_HARDNESS + torch.nn.functional.softplus(read[:, 1] + module.hardness)
    potential = (read[:, 0] + hardness * charges).detach()
    for part in potential.split([4, 3]):
        torch.testing.assert_close(part, part[:1].expand_as(part), rtol=1e-12, atol=1e-12)


def test_unknown_weights():
    with pytest.raises(ConfigError, match="Did you mean 'inverse_hardness'"):
        NeutralChargeEquilibration(channels=4, num_passes=1, weights="inverse_hardnes")
