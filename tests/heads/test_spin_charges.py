"""Charges of two spin channels as a readout: the battery, and exact totals of both."""

import pytest
import torch

from eqff.testing.battery import HeadBattery
from eqff.testing.structures import molecule


class TestSpinChannelCharges(HeadBattery):
    head = {"_target_": "eqff.heads.spin_charges.SpinChannelCharges", "hidden": 8}

    @pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)], ids=str)
    def test_both_totals_hold(self, dtype, tolerance):
        structures = [*self.structures().values(), molecule(51, 8, total_charge=-3, excited=True)]
        prediction = self.predict(self.potential(dtype), structures, dtype)
        sizes = [len(atoms) for atoms in structures]
        for name, key, offset in (("charges", "total_charge", 0), ("spin_charges", "multiplicity", 1)):
            sums = torch.stack([part.double().sum() for part in prediction[name].split(sizes)])
            totals = torch.tensor([float(atoms.info[key]) - offset for atoms in structures], dtype=torch.float64)
            assert float((sums - totals).abs().max()) < tolerance

    def test_singlets_have_no_spin(self):
        molecule_in_singlet = self.structures()["crystal"]
        molecule_in_singlet.info.update(total_charge=int(molecule_in_singlet.numbers.sum()) % 2, multiplicity=1)
        assert not self.predict(self.potential(), [molecule_in_singlet])["spin_charges"].any()
