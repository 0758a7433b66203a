"""Volume ratios: the battery, where they start, how far they get, and that labels train them."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch

from eqff.errors import ConfigError
from eqff.heads.volume_ratios import TabulatedVolumeRatios, VolumeRatios
from eqff.testing.battery import HeadBattery, TermBattery

START = {"H": 0.62, "C": 0.83, 8: 0.95}


class TestVolumeRatios(HeadBattery):
    head = {"_target_": "eqff.heads.volume_ratios.VolumeRatios", "hidden": 8, "start": START}

    def test_they_stay_within_the_factor(self):
        potential = self.potential()
        with torch.no_grad():
            for parameter in potential.heads["head"].parameters():
                parameter.mul_(1e3)
        structures = list(self.structures().values())
        numbers = torch.cat([torch.as_tensor(atoms.numbers) for atoms in structures])
        start = torch.ones(9, dtype=torch.float64)
        start[[1, 6, 8]] = torch.tensor([0.62, 0.83, 0.95], dtype=torch.float64)
        factor = self.predict(potential, structures)["volume_ratios"] / start[numbers]
        assert 1 / 1.7 - 1e-12 <= float(factor.min()) and float(factor.max()) <= 1.7 + 1e-12
        assert float((factor.log().abs()).max()) == pytest.approx(math.log(1.7))


class TestUntrained(HeadBattery):
    """Nothing is moved: what a training starts with."""

    head = {"_target_": "eqff.heads.volume_ratios.VolumeRatios", "hidden": 0, "start": START}
    perturbation = 0.0

    def test_they_start_where_they_are_told(self):
        atoms = self.structures()["molecule"]
        found = self.predict(self.potential(), [atoms])["volume_ratios"]
        expected = torch.tensor([{1: 0.62, 6: 0.83, 7: 1.0, 8: 0.95}[z] for z in atoms.numbers], dtype=torch.float64)
        torch.testing.assert_close(found, expected)


class TestTabulated(TermBattery):
    heads = {
        "volumes": {
            "_target_": "eqff.heads.volume_ratios.TabulatedVolumeRatios",
            "ratios": {"H": 0.62, "C": 0.83, "N": 0.88, "O": 0.95},
        }
    }
    term = {
        "_target_": "eqff.terms.tkatchenko_scheffler.TkatchenkoScheffler",
        "sr": 0.94,
        "volume_ratios": "volume_ratios",
        "cutoff": 9.0,
        "accuracy": 1e-12,
    }
    fragment_tolerance = 1e-6  # the tail, which `tests/terms/test_tkatchenko_scheffler.py` holds


def test_the_first_steps_of_adam_do_not_reach_the_bounds():
    """They move all weights alike; atoms three times as large made many-body dispersion fail within six steps."""
    head = VolumeRatios(64, 2, (1,), hidden=0)
    fields = {"pass_scalars": torch.ones(1, 2, 64)}
    graph = SimpleNamespace(numbers=torch.tensor([1]))
    optimizer = torch.optim.Adam(head.parameters(), lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        (-head(graph, fields)["volume_ratios"].sum()).backward()
        optimizer.step()
    assert 1.0 < head(graph, fields)["volume_ratios"].item() < 1.4


def test_what_is_refused():
    with pytest.raises(ConfigError, match="none given for O"):
        TabulatedVolumeRatios({"H": 0.6}, (1, 8))
    with pytest.raises(ConfigError, match="not all above 0"):
        TabulatedVolumeRatios({"H": 0.0}, (1,))
    with pytest.raises(ConfigError, match="no element 'Hx'"):
        VolumeRatios(4, 1, (1,), start={"Hx": 1.0})
