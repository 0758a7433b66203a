"""The flagship backbone through the battery, in the settings that change what is computed."""

import pytest
import torch

from eqff.build import ModelContext, build_potential
from eqff.errors import ConfigError
from eqff.kernels.choice import kernels
from eqff.kernels.library import library
from eqff.testing.battery import BackboneBattery
from eqff.testing.graphs import graph_of
from eqff.testing.structures import one_of_each

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


class TestSymmetricProducts(BackboneBattery):
    backbone = {**SMALL, "products": "symmetric"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"degree": 5},
        {"hidden_degree": 3},
        {"order": 4},
        {"num_passes": 0},
        {"cutoff": -1.0},
        {"radial_basis": "x"},
        {"radial_size": 1, "radial_basis": "gaussian"},
        {"products": "x"},
    ],
)
def test_settings_out_of_range_are_named(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        build_potential({"backbone": {**SMALL, **wrong}, "terms": {"local": LOCAL}}, CONTEXT)


def test_last_pass_computes_only_what_is_read():
    potential = build_potential({"backbone": SMALL, "terms": {"local": LOCAL}}, CONTEXT, torch.float64)
    assert potential.backbone.passes[-1].many_body.components_out == 1
    assert potential.backbone.passes[0].product.paths == []


@pytest.mark.skipif(library() is None, reason="needs a C++ compiler")
@pytest.mark.parametrize(
    "backbone", [TestDefault, TestHighDegreeManyPasses, TestStrictlyLocalPairwise, TestSymmetricProducts]
)
def test_fused_operations_train_like_plain_ones(backbone):
    """Energies, forces, and a loss's derivatives by every weight, for molecules and all kinds of periodicity."""
    structures = list(one_of_each((1, 6, 8)).values())
    found = {}
    for choice in ("plain", "fused"):
        torch.manual_seed(0)
        potential = build_potential({"backbone": backbone.backbone, "terms": {"local": LOCAL}}, CONTEXT, torch.float64)
        with kernels(choice):
            prediction = potential(graph_of(structures, potential.neighbour_lists, torch.float64))
            (prediction["energy"].square().sum() + prediction["forces"].square().sum()).backward()
        gradients = {name: p.grad for name, p in potential.named_parameters() if p.grad is not None}
        found[choice] = {name: prediction[name].detach() for name in ("energy", "forces")} | gradients
    assert found["fused"].keys() == found["plain"].keys()
    for name, expected in found["plain"].items():
        limit = 1e-10 * max(float(expected.abs().max()), 1.0)  # some thousand roundings
        torch.testing.assert_close(
            found["fused"][name], expected, rtol=0.0, atol=limit, msg=lambda m, n=name: f"{n}: {m}"
        )
