"""PaiNN through the battery, and what it can't give."""

import pytest

from eqff.build import ModelContext, build_potential
from eqff.errors import ConfigError
from eqff.testing.battery import LOCAL_ENERGY, BackboneBattery

SMALL = {"_target_": "eqff.backbones.painn.PaiNN", "channels": 8, "cutoff": 4.0, "radial_size": 6}
CONTEXT = ModelContext(elements=(1, 6, 8), reference_energies={1: 0.0, 6: 0.0, 8: 0.0})


class TestPaiNN(BackboneBattery):
    backbone = {**SMALL, "num_passes": 2}
    degree = 1


def test_degrees_beyond_vectors_are_refused():
    probe = {"_target_": "eqff.testing.minimal.PowerEnergy", "degree": 2}
    with pytest.raises(ConfigError, match="PaiNN has scalars and vectors.*reads degree 2.*model/backbone=equivariant"):
        build_potential({"backbone": SMALL, "terms": {"probe": probe}}, CONTEXT)


def test_only_what_is_read_is_computed():
    backbone = build_potential({"backbone": SMALL, "terms": {"local": LOCAL_ENERGY}}, CONTEXT).backbone
    assert [message.outputs for message in backbone.messages] == [2, 3, 3]
    assert [update.outputs for update in backbone.updates] == [3, 3, 2]
