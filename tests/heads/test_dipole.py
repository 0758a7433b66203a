"""Dipoles: the battery, and what they are made of."""

import torch

from eqff.testing.battery import HeadBattery

CHARGES = {"_target_": "eqff.heads.charges.Charges", "hidden": 8}


class TestChargesAlone(HeadBattery):
    heads = {"charges": CHARGES}
    head = {"_target_": "eqff.heads.dipole.Dipole", "atomic_dipoles": False}

    def test_is_the_first_moment_of_the_charges(self):
        structures = list(self.structures().values())
        prediction = self.predict(self.potential(), structures)
        positions = torch.cat([torch.as_tensor(atoms.positions) for atoms in structures])
        moments = (prediction["charges"][:, None] * positions).split([len(atoms) for atoms in structures])
        expected = torch.stack([moment.sum(0) for moment in moments])
        torch.testing.assert_close(prediction["dipole"], expected, rtol=1e-12, atol=1e-13)


class TestWithAtomicDipoles(HeadBattery):
    heads = {"charges": CHARGES}
    head = {"_target_": "eqff.heads.dipole.Dipole"}

    def test_atomic_dipoles_count(self):
        """An atom has no dipole; a molecule's is not that of its charges alone."""
        structures = [self.structures()["molecule"], self.structures()["atom"]]
        prediction = self.predict(self.potential(), structures)
        positions = torch.cat([torch.as_tensor(atoms.positions) for atoms in structures])
        moments = prediction["charges"][:, None] * positions
        rest = prediction["dipole"] - torch.stack([moments[:-1].sum(0), moments[-1]])
        assert float(rest[0].norm()) > 1e-3
        assert float(rest[1].norm()) < 1e-14
