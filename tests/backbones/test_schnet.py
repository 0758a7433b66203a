"""SchNet through the battery, and what it can't give."""

import pytest
import torch

from eqff.backbones.schnet import ShiftedSoftplus
from eqff.build import ModelContext, build_potential
from eqff.errors import ConfigError
from eqff.testing.battery import BackboneBattery

SMALL = {"_target_": "eqff.backbones.schnet.SchNet", "channels": 8, "cutoff": 4.0, "radial_size": 12}
CONTEXT = ModelContext(elements=(1, 6, 8), reference_energies={1: 0.0, 6: 0.0, 8: 0.0})


class TestSchNet(BackboneBattery):
    backbone = {**SMALL, "num_passes": 2}
    degree = 0


def test_vectors_are_refused():
    probe = {"_target_": "eqff.testing.minimal.PowerEnergy", "degree": 1}
    with pytest.raises(ConfigError, match="SchNet has scalars only.*reads degree 1.*model/backbone=painn"):
        build_potential({"backbone": SMALL, "terms": {"probe": probe}}, CONTEXT)


def test_shifted_softplus():
    values = torch.linspace(-3, 3, 7, dtype=torch.float64)
    torch.testing.assert_close(ShiftedSoftplus()(values), torch.log(0.5 * values.exp() + 0.5))
