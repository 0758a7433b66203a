"""The flagship backbone through the battery, in the settings that change what is computed."""

import pytest
import torch

from eqff.build import ModelContext, build_potential
from eqff.errors import ConfigError
from eqff.testing.battery import BackboneBattery

SMALL = {
    "_target_": "eqff.backbones.equivariant.EquivariantMessagePassing",
    "channels": 8,
    "cutoff": 4.0,
    "radial_hidden": 8,
}
CONTEXT = ModelContext(elements=(1, 6, 8), reference_energies={1: 0.0, 6: 0.0, 8: 0.0})
LOCAL = {"_target_": "eqff.terms.local.LocalEnergy"}


class TestDefault(BackboneBattery):
    backbone = {**SMALL, "hidden_degree": 2}


class TestHighDegreeManyPasses(BackboneBattery):
    backbone = {**SMALL, "channels": 4, "degree": 3, "num_passes": 3, "order": 2, "radial_basis": "gaussian"}
    degree = 1


class TestStrictlyLocalPairwise(BackboneBattery):
    backbone = {**SMALL, "strictly_local": True, "order": 1, "radial_hidden": 0}


@pytest.mark.parametrize(
    "wrong",
    [{"degree": 5}, {"hidden_degree": 3}, {"order": 4}, {"num_passes": 0}, {"cutoff": -1.0}, {"radial_basis": "x"}],
)
def test_settings_out_of_range_are_named(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        build_potential({"backbone": {**SMALL, **wrong}, "terms": {"local": LOCAL}}, CONTEXT)


def test_last_pass_computes_only_what_is_read():
    potential = build_potential({"backbone": SMALL, "terms": {"local": LOCAL}}, CONTEXT, torch.float64)
    assert potential.backbone.passes[-1].many_body.components_out == 1
    assert potential.backbone.passes[0].product.paths == []
