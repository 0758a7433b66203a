"""DeepPot-SE through the battery, and its descriptor against the formulas, atom by atom."""

import json
from pathlib import Path

import pytest
import torch
from ase import Atoms
from ase.neighborlist import neighbor_list

from eqff.backbones.deep_pot import switched_inverse
from eqff.build import ModelContext, build_potential
from eqff.errors import ConfigError
from eqff.testing.battery import LOCAL_ENERGY, BackboneBattery
from eqff.testing.graphs import graph_of
from eqff.testing.structures import crystal, molecule

SMALL = {
    "_target_": "eqff.backbones.deep_pot.DeepPotSE",
    "channels": 8,
    "num_passes": 2,
    "cutoff": 4.0,
    "embedding": [3, 6, 6],
    "axis_columns": 2,
}
ELEMENTS = (1, 6, 8)
PUBLISHED = json.loads((Path(__file__).parent / "fixtures" / "deepmd.json").read_text(encoding="utf-8"))


class TestDeepPotSE(BackboneBattery):
    backbone = {**SMALL, "onset": 2.0}
    degree = 0
    special_radii = (2.0,)


def build(elements=ELEMENTS, **settings):
    model = {"backbone": {**SMALL, **settings}, "terms": {"local": LOCAL_ENERGY}}
    torch.manual_seed(4)
    context = ModelContext(elements, dict.fromkeys(elements, 0.0), mean_neighbours=20.0)
    return build_potential(model, context, torch.float64).backbone


def embedding_of(backbone, inverse, kind):
    values = inverse[None]
    for number, layer in enumerate(backbone.embed_neighbour.layers):
        new = torch.tanh(values @ layer.weight[kind] + layer.bias[kind])
        if number == 1:  # from 3 to 6
            new = new + torch.cat([values, values])
        elif number == 2:
            new = new + values
        values = new
    return values


def by_the_paper(backbone, atoms):
    """R, G and D of every atom."""
    first, second, vectors = neighbor_list("ijD", atoms, SMALL["cutoff"])
    found = []
    for i in range(len(atoms)):
        rows, embedded = [], []
        for j, vector in zip(second[first == i], torch.tensor(vectors[first == i]), strict=True):
            r = vector.norm()
            x = (r - 0.5) / 3.5
            s = (x**3 * (-6 * x**2 + 15 * x - 10) + 1 if r > 0.5 else 1) / r
            rows.append(s * torch.cat([torch.ones(1, dtype=torch.float64), vector / r]))
            pair = [ELEMENTS.index(atoms.numbers[k]) for k in (i, j)]
            embedded.append(embedding_of(backbone, s, tuple(pair) if backbone.by_pair else pair[1]))
        r, g = torch.stack(rows), torch.stack(embedded)
        found.append((g.T @ r @ r.T @ g[:, :2] / 20.0**2).flatten())
    return torch.stack(found)


@pytest.mark.parametrize("networks", ["pair", "neighbour"])
def test_descriptor_is_that_of_the_paper(networks):
    backbone = build(networks=networks)
    structures = [molecule(72, 6, ELEMENTS), crystal(73, 6, ELEMENTS)]
    graph = graph_of(structures, backbone.neighbour_lists, torch.float64)
    with torch.no_grad():
        for layer in backbone.embed_neighbour.layers:
            layer.bias.normal_()
        found = backbone.descriptor(graph.local, backbone.species(graph.numbers))
        expected = torch.cat([by_the_paper(backbone, atoms) for atoms in structures])
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_descriptor_is_that_of_deepmd_kit():
    """Made by tools/published_vectors.py, with weights of its own for each centre (which runs first) and neighbour."""
    backbone = build((1, 6, 7, 8), onset=1.0)
    with torch.no_grad():
        for number, layers in enumerate(PUBLISHED["weights"]):
            neighbour, centre = divmod(number, 4)
            for mine, theirs in zip(backbone.embed_neighbour.layers, layers, strict=True):
                mine.weight[centre, neighbour] = torch.tensor(theirs["w"], dtype=torch.float64)
                mine.bias[centre, neighbour] = torch.tensor(theirs["b"], dtype=torch.float64)
        frames = PUBLISHED["frames"]
        structures = [Atoms(f["numbers"], f["positions"], cell=f["cell"], pbc=f["cell"] is not None) for f in frames]
        graph = graph_of(structures, backbone.neighbour_lists, torch.float64, classical=True)
        found = backbone.descriptor(graph.local, backbone.species(graph.numbers)) * float(backbone.divisor) ** 2
    expected = torch.cat([torch.tensor(frame["vectors"], dtype=torch.float64) for frame in frames])
    torch.testing.assert_close(found, expected * PUBLISHED["neighbours"] ** 2, rtol=1e-10, atol=1e-10)


def test_switch_has_two_continuous_derivatives():
    for radius, value in ((1.0, 1.0), (3.0, 0.0)):
        slopes = []
        for r in (radius - 1e-7, radius + 1e-7):
            r = torch.tensor(r, dtype=torch.float64, requires_grad=True)
            y = switched_inverse(r, 1.0, 3.0)
            first = torch.autograd.grad(y, r, create_graph=True)[0]
            slopes.append(torch.stack([y, first, torch.autograd.grad(first, r)[0]]).detach())
        torch.testing.assert_close(*slopes, rtol=0, atol=1e-5)
        assert float(slopes[0][0]) == pytest.approx(value, abs=1e-6)


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="onset is 4 Å, not below the cutoff of 4 Å"):
        build(onset=4.0)
    with pytest.raises(ConfigError, match="axis_columns is 7, but the embedding .3, 6, 6. has fewer"):
        build(axis_columns=7)
