"""SchNet through the battery, and what it can't give."""

import math

import pytest
import torch
from torch.nn.functional import softplus

from eqff.backbones.schnet import ShiftedSoftplus
from eqff.build import ModelContext, build_potential
from eqff.errors import ConfigError
from eqff.testing.battery import LOCAL_ENERGY, BackboneBattery
from eqff.testing.graphs import graph_of
from eqff.testing.structures import molecule

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


def by_the_papers(schnet, scalars, positions, index):
    """One interaction, atom by atom."""

    def dense(layer, values):
        return layer.weight @ values + layer.bias

    def activation(values):
        return softplus(values) - math.log(2.0)

    block, spacing = schnet.interactions[index], schnet.cutoff / (schnet.basis.size - 1)
    new = []
    for i in range(len(positions)):
        summed = torch.zeros_like(scalars[i])
        for j in range(len(positions)):
            r = float((positions[j] - positions[i]).norm())
            if i == j or r >= schnet.cutoff:
                continue
            gaussians = [math.exp(-((r - n * spacing) ** 2) / (2 * spacing**2)) for n in range(schnet.basis.size)]
            filters = activation(dense(block.filters[0], torch.tensor(gaussians, dtype=torch.float64)))
            filters = activation(dense(block.filters[2], filters))
            x = r / schnet.cutoff
            summed += (block.before.weight @ scalars[j]) * filters * (1 - x**6 * (28 - 48 * x + 21 * x**2))
        new.append(scalars[i] + dense(block.after[2], activation(dense(block.after[0], summed))))
    return torch.stack(new)


def test_interactions_are_those_of_the_papers():
    torch.manual_seed(1)
    model = {"backbone": {**SMALL, "charge_and_spin": False}, "terms": {"local": LOCAL_ENERGY}}
    schnet = build_potential(model, CONTEXT, torch.float64).backbone
    graph = graph_of([molecule(72, 6, (1, 6, 8))], schnet.neighbour_lists, torch.float64)
    prepared, features = schnet.prepare(graph), schnet.embed(graph)
    scalars = features[:, 0]
    with torch.no_grad():
        for index in range(3):
            features = schnet.interact(index, features, graph, prepared)
            scalars = by_the_papers(schnet, scalars, graph.positions, index)
            torch.testing.assert_close(features[:, 0], scalars, rtol=1e-10, atol=1e-10)
