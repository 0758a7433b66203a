"""Sums over pairs: chunks, cutoffs and the uniform tail."""

import pytest
import torch
from ase.build import bulk, molecule

from eqff.build import ModelContext, build_potential
from eqff.dispersion import pairs
from eqff.dispersion.all_pairs import AllPairs, pair_lists
from eqff.dispersion.cutoffs import Cutoff
from eqff.errors import ConfigError, ModelError
from eqff.testing.graphs import graph_of, on_each_other
from eqff.testing.structures import crystal
from eqff.testing.structures import molecule as cluster


def d3(atoms, **settings):
    term = {"_target_": "eqff.terms.d3.D3", "functional": "pbe", "coordination_cutoff": 8.0, **settings}
    context = ModelContext(tuple(sorted(set(atoms.numbers.tolist()))), {})
    potential = build_potential({"terms": {"d3": term}}, context, torch.float64).eval()
    atoms.info.update(total_charge=0, multiplicity=1 + int(atoms.numbers.sum()) % 2)
    return potential, graph_of([atoms], potential.neighbour_lists, torch.float64)


def test_chunks_change_nothing(monkeypatch):
    potential, graph = d3(crystal(1, 5), cutoff=7.0)

    def second_derivative():
        positions = graph.positions.clone().requires_grad_()
        energy = potential.energy(graph.deformed(positions))[0].sum()
        forces = torch.autograd.grad(energy, positions, create_graph=True)[0]
        return energy.detach(), *torch.autograd.grad(forces.square().sum(), positions)

    whole = second_derivative()
    monkeypatch.setattr(pairs, "CHUNK", 300)
    for value, expected in zip(second_derivative(), whole, strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-11, atol=1e-13)


def test_tail_is_what_a_longer_cutoff_adds():
    """Ten times closer to the whole sum than without, in energy and stress."""
    salt = bulk("NaCl", "rocksalt", a=5.64, cubic=True)

    def predicted(**settings):
        potential, graph = d3(salt.copy(), **settings)
        result = potential(graph, stress=True)
        return torch.cat([result["energy"], 100 * result["stress"].flatten()])

    whole = predicted(cutoff=40.0, fade=8.0)
    error = [float((predicted(cutoff=12.0, fade=3.0, tail=tail) - whole).abs().max()) for tail in (True, False)]
    assert error[0] < 0.1 * error[1]
    assert error[1] > 0.01


def test_open_structures_have_no_tail():
    values = [potential(graph)["energy"] for potential, graph in (d3(molecule("C6H6"), tail=t) for t in (True, False))]
    assert torch.equal(*values)


def test_cutoffs_end_at_zero():
    cutoff = Cutoff(6.0, 2.0)
    lengths = torch.tensor([1.0, 4.0, 5.0, 6.0, 7.0], dtype=torch.float64)
    assert cutoff.weight(lengths).tolist() == [1.0, 1.0, 0.5, 0.0, 0.0]
    assert Cutoff(6.0, 0.0).weight(lengths).tolist() == [1.0, 1.0, 1.0, 1.0, 0.0]
    with pytest.raises(ConfigError, match="fade"):
        Cutoff(6.0, 7.0)


@pytest.mark.parametrize("atoms", [cluster(1, 4), crystal(4)], ids=["open", "periodic"])
def test_all_pairs_name_atoms_on_each_other(atoms):
    graph = on_each_other(graph_of([atoms], pair_lists(6.0), torch.float64), 3, 1)
    with pytest.raises(ModelError, match="are 0 Å apart: their dispersion interaction is not finite"):
        AllPairs.of(graph, 6.0)


@pytest.mark.parametrize("damping", ["bj", "zero"])
def test_atoms_on_each_other_are_named(damping):
    potential, graph = d3(molecule("H2"), damping=damping)
    with pytest.raises(ModelError, match="Atoms . and . of the batch.*their dispersion interaction is not finite"):
        potential(on_each_other(graph, 1, 0))
