"""PaiNN through the battery, and what it can't give."""

import math

import pytest
import torch
from torch.nn.functional import silu

from eqff.build import ModelContext, build_potential
from eqff.errors import ConfigError
from eqff.testing.battery import LOCAL_ENERGY, BackboneBattery
from eqff.testing.graphs import graph_of
from eqff.testing.structures import molecule

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


def by_the_paper(painn, scalars, vectors, positions, index):
    """One pass, atom by atom: eqs. 7 to 10 of the paper. Scalars (N, F), vectors (N, 3, F)."""
    message, update = painn.messages[index], painn.updates[index]
    first, _, second = message.network
    new_scalars, new_vectors = scalars.clone(), vectors.clone()
    for i in range(len(positions)):
        for j in range(len(positions)):
            r = float((positions[j] - positions[i]).norm())
            if i == j or r >= painn.cutoff:
                continue
            cut = 0.5 * (math.cos(math.pi * r / painn.cutoff) + 1)
            scale = math.sqrt(2 / painn.cutoff)
            waves = [scale * math.sin(n * math.pi * r / painn.cutoff) / r for n in range(1, painn.basis.size + 1)]
            *weights, bias = message.filters.weight.T
            filters = cut * (sum(w * wave for w, wave in zip(weights, waves, strict=True)) + bias)
            sent = (second.weight @ silu(first.weight @ scalars[j] + first.bias) + second.bias) * filters
            parts = sent.split(painn.channels)
            direction = (positions[j] - positions[i]) / r
            new_scalars[i] += parts[0]
            new_vectors[i] += direction[:, None] * parts[1]
            if len(parts) == 3:
                new_vectors[i] += vectors[j] * parts[2]
    u, v = update.mix.weight.split(painn.channels)
    uv, vv = new_vectors @ u.T, new_vectors @ v.T
    norm = (vv.square().sum(1) + 1e-8).sqrt()
    gates = update.network(torch.cat([new_scalars, norm], 1)).split(painn.channels, 1)
    return new_scalars + gates[0] + gates[1] * (uv * vv).sum(1), new_vectors + gates[2][:, None] * uv


def test_passes_are_those_of_the_paper():
    probe = {"_target_": "eqff.testing.minimal.PowerEnergy", "degree": 1}
    torch.manual_seed(1)
    model = {"backbone": {**SMALL, "num_passes": 2, "charge_and_spin": False}, "terms": {"probe": probe}}
    painn = build_potential(model, CONTEXT, torch.float64).backbone
    graph = graph_of([molecule(71, 6, (1, 6, 8))], painn.neighbour_lists, torch.float64)
    prepared, features = painn.prepare(graph), painn.embed(graph)
    scalars, vectors = features[:, 0], torch.zeros(6, 3, 8, dtype=torch.float64)
    with torch.no_grad():
        for index in range(2):
            features = painn.interact(index, features, graph, prepared)
            scalars, vectors = by_the_paper(painn, scalars, vectors, graph.positions, index)
            torch.testing.assert_close(features[:, 0], scalars, rtol=1e-10, atol=1e-10)
            torch.testing.assert_close(features[:, 1:], vectors, rtol=1e-10, atol=1e-10)
    assert vectors.abs().max() > 1e-3
