"""Latent charges under their Coulomb sum: the battery."""

import pytest
import torch

from eqff.testing.battery import MINIMAL_BACKBONE, TermBattery
from eqff.testing.structures import molecule


class TestLatentCharges(TermBattery):
    """As in conf/model/les.yaml, without the local energy."""

    backbone = MINIMAL_BACKBONE
    heads = {"latent": {"_target_": "eqff.heads.latent_charges.LatentCharges", "scale": 1.0}}
    term = {
        "_target_": "eqff.terms.coulomb.Coulomb",
        "charges": "latent_charges",
        "short_range": "gaussian",
        "width": 0.7,
        "cutoff": 8.0,
        "accuracy": 1e-12,
    }

    def test_far_fragments_add_up(self) -> None:
        pytest.skip("latent charges need not sum to zero, so fragments interact as ions do")

    def test_they_know_no_total(self):
        """Charging changes each atom's charge by what its features say, not by a share of the whole."""
        potential, neutral = self.potential(), molecule(1, 6)
        charged = neutral.copy()
        charged.info.update(total_charge=2, multiplicity=neutral.info["multiplicity"])
        sums = [float(self.predict(potential, [atoms])["latent_charges"].sum()) for atoms in (neutral, charged)]
        assert abs(sums[1] - sums[0] - 2) > 0.1
        assert "charges" not in self.predict(potential, [neutral])
        assert bool(torch.isfinite(self.predict(potential, [charged])["energy"]).all())
