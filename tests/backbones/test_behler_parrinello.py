"""Behler and Parrinello's networks through the battery, and their functions against the formulas, atom by atom."""

import json
import math
from itertools import combinations
from pathlib import Path

import pytest
import torch
from ase import Atoms
from ase.neighborlist import neighbor_list

from eqff.build import ModelContext, build_potential
from eqff.errors import ConfigError
from eqff.testing.battery import LOCAL_ENERGY, BackboneBattery
from eqff.testing.graphs import graph_of
from eqff.testing.structures import crystal, molecule

SMALL = {
    "_target_": "eqff.backbones.behler_parrinello.BehlerParrinello",
    "channels": 8,
    "cutoff": 4.0,
    "radial_eta": [0.1, 1.0],
    "radial_shifts": [0.0, 1.5],
    "angular_cutoff": 3.0,
    "angular_eta": [0.03],
    "zeta": [1.0, 2.5],
}
ELEMENTS = (1, 6, 8)
PUBLISHED = json.loads((Path(__file__).parent / "fixtures" / "dscribe.json").read_text(encoding="utf-8"))
PRINTED = {"rtol": 0, "atol": 1e-9}  # it holds ten decimals


class TestBehlerParrinello(BackboneBattery):
    backbone = SMALL
    degree = 0


def build(elements=ELEMENTS, **settings):
    model = {"backbone": {**SMALL, **settings}, "terms": {"local": LOCAL_ENERGY}}
    context = ModelContext(elements, dict.fromkeys(elements, 0.0))
    return build_potential(model, context, torch.float64).backbone


def cutoff_function(r, cutoff, kind):
    if r >= cutoff:
        return 0.0
    return 0.5 * (math.cos(math.pi * r / cutoff) + 1) if kind == "cosine" else math.tanh(1 - r / cutoff) ** 3


def by_the_papers(atoms, angular, envelope):
    """G2 of every element, then G4 or G5 of every pair of elements, of every atom."""
    first, second, vectors = neighbor_list("ijD", atoms, SMALL["cutoff"])
    rows = []
    for i in range(len(atoms)):
        near = [(atoms.numbers[j], v) for j, v in zip(second[first == i], vectors[first == i], strict=True)]
        rows.append([])
        for element in ELEMENTS:
            for eta, shift in zip(SMALL["radial_eta"], SMALL["radial_shifts"], strict=True):
                lengths = [math.hypot(*v) for number, v in near if number == element]
                rows[i].append(
                    sum(math.exp(-eta * (r - shift) ** 2) * cutoff_function(r, 4.0, envelope) for r in lengths)
                )
        for one in range(len(ELEMENTS)):
            for other in range(one, len(ELEMENTS)):
                pairs = [
                    (v, w)
                    for (a, v), (b, w) in combinations(near, 2)
                    if sorted((a, b)) == [ELEMENTS[one], ELEMENTS[other]]
                ]
                for zeta in SMALL["zeta"]:
                    for sign in (1, -1):
                        rows[i].append(sum(of_triple(v, w, zeta, sign, angular, envelope) for v, w in pairs))
    return torch.tensor(rows, dtype=torch.float64)


def of_triple(v, w, zeta, sign, angular, envelope):
    r_ij, r_ik, r_jk = math.hypot(*v), math.hypot(*w), math.hypot(*(v - w))
    value = 2 ** (1 - zeta) * (1 + sign * float(v @ w) / (r_ij * r_ik)) ** zeta
    value *= math.exp(-0.03 * (r_ij**2 + r_ik**2)) * math.prod(cutoff_function(r, 3.0, envelope) for r in (r_ij, r_ik))
    if angular == "G4":
        value *= math.exp(-0.03 * r_jk**2) * cutoff_function(r_jk, 3.0, envelope)
    return value


@pytest.mark.parametrize(("angular", "envelope"), [("G4", "cosine"), ("G5", "tanh")])
def test_functions_are_those_of_the_papers(angular, envelope):
    structures = [molecule(72, 6, ELEMENTS), crystal(73, 6, ELEMENTS)]
    backbone = build(angular=angular, envelope=envelope)
    graph = graph_of(structures, backbone.neighbour_lists, torch.float64)
    found = backbone.functions(graph, backbone.species(graph.numbers))
    expected = torch.cat([by_the_papers(atoms, angular, envelope) for atoms in structures])
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_settings_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="radial_shifts has 3 values for the 2 of radial_eta"):
        build(radial_shifts=[0.0, 1.0, 2.0])
    with pytest.raises(ConfigError, match=r"functions of one distance, numbers .1. .from 0. are zero"):
        build(radial_eta=[0.1, 20.0], radial_shifts=[0.0, 9.0])
    with pytest.raises(ConfigError, match="zeta must hold at least one value"):
        build(zeta=[])
    with pytest.raises(ConfigError, match="zeta holds 1.5: between 1 and 2"):
        build(zeta=[1.0, 1.5])


def test_atoms_alone_have_no_neighbours():
    backbone = build()
    graph = graph_of([Atoms("C")], backbone.neighbour_lists, torch.float64, classical=True)
    assert not backbone.functions(graph, backbone.species(graph.numbers)).any()


def test_functions_are_those_of_dscribe():
    """Made by tools/published_vectors.py, which has functions of the cutoff alone too, and pairs (b, a) with a <= b."""
    etas, shifts = zip(*PUBLISHED["g2"], strict=True)
    zetas = PUBLISHED["g4"][0][1], PUBLISHED["g4"][2][1]
    assert [[0.03, zeta, sign] for zeta in zetas for sign in (1, -1)] == PUBLISHED["g4"]
    settings = {"radial_eta": etas, "radial_shifts": shifts, "angular_cutoff": 4.0, "zeta": zetas}
    backbone = build((1, 6, 7, 8), **settings)
    frames = PUBLISHED["frames"]
    structures = [Atoms(f["numbers"], f["positions"], cell=f["cell"], pbc=f["cell"] is not None) for f in frames]
    graph = graph_of(structures, backbone.neighbour_lists, torch.float64, classical=True)
    radial, angular = backbone.functions(graph, backbone.species(graph.numbers)).split((8, 40), dim=1)
    expected = torch.cat([torch.tensor(frame["vectors"], dtype=torch.float64) for frame in frames])
    upper = [(a, b) for a in range(4) for b in range(a, 4)]
    order = [upper.index((a, b)) for b in range(4) for a in range(b + 1)]
    torch.testing.assert_close(radial, expected[:, :12].unflatten(1, (4, 3))[:, :, 1:].flatten(1), **PRINTED)
    torch.testing.assert_close(angular.unflatten(1, (10, 4))[:, order].flatten(1), expected[:, 12:], **PRINTED)
