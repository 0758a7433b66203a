"""Split charges and ACKS2 as heads: the battery, totals, and fragments that keep their charges."""

import pytest
import torch

from eqff.heads.acks2 import ACKS2, HIGHEST
from eqff.testing.battery import LOCAL_ENERGY, MINIMAL_BACKBONE, PotentialBattery
from eqff.testing.structures import closed_shell, joined, molecule

COMMON = {"hidden": 4, "max_width": 0.8, "cutoff": 8.0, "accuracy": 1e-12}


class Transfer(PotentialBattery):
    """Neutral fragments stay neutral, so what they share falls off as between dipoles: very far means nothing."""

    fragment_distance = 3e4

    @property
    def model(self):
        terms = {"local": LOCAL_ENERGY, "equilibration": {"_target_": "eqff.terms.field_energy.FieldEnergy"}}
        return {"backbone": MINIMAL_BACKBONE, "heads": {"charges": self.head}, "terms": terms}

    def test_charges_sum_to_the_total(self):
        structures = list(self.structures().values()) + [molecule(51, 8, total_charge=-3)]
        charges = self.predict(self.potential(), structures)["charges"]
        sums = torch.stack([part.sum() for part in charges.split([len(atoms) for atoms in structures])])
        totals = torch.tensor([float(atoms.info["total_charge"]) for atoms in structures], dtype=torch.float64)
        assert float((sums - totals).abs().max()) < 1e-12
        assert float(charges.abs().max()) > 1e-2

    def test_no_charge_flows_between_fragments(self):
        first, second = closed_shell(molecule(32, 6)), closed_shell(molecule(33, 4))
        charges = self.predict(self.potential(), [joined(first, second, [15.0, 0.0, 0.0])])["charges"]
        assert abs(float(charges[:6].sum())) < 1e-12


class TestSplitCharges(Transfer):
    head = {"_target_": "eqff.heads.split_charges.SplitCharges", **COMMON, "bond_cutoff": 3.2}
    special_radii = (3.2, 0.6 * 3.2)


class TestACKS2(Transfer):
    head = {"_target_": "eqff.heads.acks2.ACKS2", **COMMON, "bond_cutoff": 3.6}
    special_radii = (0.8 * 3.6,)


@pytest.mark.slow  # tests/longrange/test_charge_transfer.py holds both solvers against each other, to second order
class TestIterative(Transfer):
    head = {**TestSplitCharges.head, "dense_up_to": 1, "tolerance": 1e-13}


@pytest.mark.parametrize("kind", ["split_charges.SplitCharges", "acks2.ACKS2"])
def test_learned_initial_charges_keep_the_total(kind):
    battery = Transfer()
    battery.head = {"_target_": f"eqff.heads.{kind}", **COMMON, "initial": "learned"}
    battery.test_charges_sum_to_the_total()
    both = joined(closed_shell(molecule(32, 6)), closed_shell(molecule(33, 4)), [15.0, 0.0, 0.0])
    charges = battery.predict(battery.potential(), [both])["charges"]
    assert abs(float(charges[:6].sum())) > 1e-3


def test_the_kernel_starts_at_its_softness():
    head = ACKS2(4, 2, (1, 8), softness=0.7)
    assert float(torch.nn.functional.softplus(head.raw_softness.detach())) == pytest.approx(0.7)
    t = torch.linspace(0, 1, 3001)
    assert float((t**3 * (1 - t) ** 6).max()) == pytest.approx(HIGHEST, rel=1e-6)
