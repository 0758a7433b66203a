"""ANI through the battery, and its vectors beside those of the published code."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from omegaconf import OmegaConf

from eqff.build import ModelContext, build_potential
from eqff.config import config_directory
from eqff.errors import ConfigError
from eqff.kernels.capture import captured
from eqff.testing.battery import LOCAL_ENERGY, BackboneBattery
from eqff.testing.graphs import graph_of
from eqff.testing.structures import crystal, molecule

SMALL = {
    "_target_": "eqff.backbones.ani.ANI",
    "channels": 8,
    "num_passes": 2,
    "cutoff": 4.0,
    "radial_size": 4,
    "radial_eta": 4.0,
    "angular_cutoff": 3.0,
    "angular_size": 2,
    "angular_eta": 2.0,
    "angles": 3,
    "zeta": 4.1,
    # the published nonlinearity has kinks in its slope, where no finite difference of forces is right
    "activation": "gelu",
}
PUBLISHED = json.loads((Path(__file__).parent / "fixtures" / "torchani.json").read_text(encoding="utf-8"))


class TestANI(BackboneBattery):
    backbone = SMALL
    degree = 0


def vectors(backbone, structures):
    graph = graph_of(structures, backbone.neighbour_lists, torch.float64, classical=True)
    return backbone.functions(graph, backbone.species(graph.numbers))


def build(settings, elements):
    context = ModelContext(tuple(elements), dict.fromkeys(elements, 0.0))
    return build_potential({"backbone": settings, "terms": {"local": LOCAL_ENERGY}}, context, torch.float64).backbone


def preset(name):
    settings = OmegaConf.load(config_directory() / "model" / "backbone" / f"{name}.yaml")
    return {**OmegaConf.to_container(settings), "channels": 4}


def in_published_order(found, elements, published, radial, angular):
    """Blocks of elements and of pairs, from ascending numbers to the published order."""
    place = [elements.index(number) for number in published]
    pairs = {pair: n for n, pair in enumerate(zip(*np.triu_indices(len(elements)), strict=True))}
    blocks = found[:, : len(elements) * radial].unflatten(1, (-1, radial))[:, place].flatten(1)
    order = [pairs[tuple(sorted((place[a], place[b])))] for a, b in zip(*np.triu_indices(len(place)), strict=True)]
    return torch.cat([blocks, found[:, len(elements) * radial :].unflatten(1, (-1, angular))[:, order].flatten(1)], 1)


@pytest.mark.parametrize("name", ["ani1x", "ani2x"])
def test_vectors_are_those_of_the_published_code(name):
    """Made by tools/published_vectors.py: molecules, a linear one among them, and a small oblique cell."""
    published = PUBLISHED[name]["elements"]
    elements = sorted(published)
    backbone = build(preset(name), elements)
    frames = PUBLISHED[name]["frames"]
    structures = [Atoms(f["numbers"], f["positions"], cell=f["cell"], pbc=f["cell"] is not None) for f in frames]
    angular = backbone.functions.angular.size
    found = in_published_order(vectors(backbone, structures), elements, published, 16, angular)
    expected = torch.cat([torch.tensor(frame["vectors"], dtype=torch.float64) for frame in frames])
    assert found.shape == expected.shape and expected.max() > 1
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)  # θ_s are published with 8 digits; ζ = 32


def test_captured_code_computes_the_same():
    structures = [molecule(5, 7), crystal(6)]
    backbone = build(preset("ani1x"), (1, 6, 7, 8))
    expected = vectors(backbone, structures)
    with captured():
        torch.testing.assert_close(vectors(backbone, structures), expected, rtol=1e-12, atol=1e-12)


def test_layers_are_those_of_the_paper():
    """Without residuals, h = a(W_z d + b_z) and again, as in the paper, atom by atom."""
    torch.manual_seed(3)
    backbone = build({**SMALL, "charge_and_spin": False}, (1, 6, 8))
    structures = [molecule(72, 6, (1, 6, 8))]
    graph = graph_of(structures, backbone.neighbour_lists, torch.float64)
    described, features = backbone.prepare(graph), backbone.embed(graph)
    for index in range(2):
        features = backbone.interact(index, features, graph, described)
    for number, vector, found in zip(
        graph.numbers.tolist(), vectors(backbone, structures), features[:, 0], strict=True
    ):
        z = (1, 6, 8).index(number)
        hidden = torch.nn.functional.gelu(vector @ backbone.matrices()[z] + backbone.embedding[z])
        layer = backbone.layers[0]
        torch.testing.assert_close(found, torch.nn.functional.gelu(hidden @ layer.weight[z] + layer.bias[z]))


def test_vectors_are_refused():
    probe = {"_target_": "eqff.testing.minimal.PowerEnergy", "degree": 1}
    with pytest.raises(ConfigError, match="ANI has scalars only.*reads degree 1.*model/backbone=painn"):
        build_potential({"backbone": SMALL, "terms": {"probe": probe}}, ModelContext((1, 6), {1: 0.0, 6: 0.0}))


def test_longer_angular_cutoff_is_refused():
    with pytest.raises(ConfigError, match="angular_cutoff is 4.5 Å, beyond the cutoff of 4 Å"):
        build({**SMALL, "angular_cutoff": 4.5}, (1, 6, 8))
