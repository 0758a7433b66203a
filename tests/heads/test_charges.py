"""Inferred charges: the battery, and the total charge held in every case."""

import pytest
import torch

from eqff.errors import ConfigError
from eqff.heads.charges import Charges
from eqff.testing.battery import HeadBattery
from eqff.testing.structures import molecule

TARGET = "eqff.heads.charges.Charges"


class TestLearnedWeights(HeadBattery):
    head = {"_target_": TARGET, "hidden": 8}

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
    def test_charges_sum_to_the_total(self, dtype):
        structures = list(self.structures().values()) + [molecule(51, 8, total_charge=-3)]
        charges = self.predict(self.potential(dtype), structures, dtype)["charges"].to(torch.float64)
        sums = torch.stack([part.sum() for part in charges.split([len(atoms) for atoms in structures])])
        totals = torch.tensor([float(atoms.info["total_charge"]) for atoms in structures], dtype=torch.float64)
        assert float((sums - totals).abs().max()) < 20 * torch.finfo(dtype).eps

    def test_one_atom_has_the_whole_charge(self):
        atom = self.structures()["atom"]
        assert float(self.predict(self.potential(), [atom])["charges"]) == pytest.approx(1.0, abs=1e-15)


class TestUniformWeights(HeadBattery):
    head = {"_target_": TARGET, "hidden": 0, "weights": "uniform"}

    def test_missing_charge_is_shared_evenly(self):
        """Charging a structure moves each charge by what the features say, and their mean by 1/N."""
        neutral, potential = molecule(52, 6), self.potential()
        charged = neutral.copy()
        charged.info.update(total_charge=2, multiplicity=neutral.info["multiplicity"])
        difference = [self.predict(potential, [a])["charges"].mean() for a in (charged, neutral)]
        assert float(difference[0] - difference[1]) == pytest.approx(2 / 6, abs=1e-12)


class TestInverseHardness(HeadBattery):
    head = {"_target_": TARGET, "hidden": 0, "weights": "inverse_hardness"}


def test_unknown_weights():
    with pytest.raises(ConfigError, match="Did you mean 'learned'"):
        Charges(channels=4, num_passes=1, weights="learnt")
