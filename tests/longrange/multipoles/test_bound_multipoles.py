"""The linear map of multipoles: symmetric, its matrix, its derivatives, and that all ways of summing agree."""

from __future__ import annotations

import re
from itertools import combinations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.build import molecule as named_molecule

from eqff.derivatives import differentiate
from eqff.errors import ModelError
from eqff.longrange.multipoles.damping import GaussianDamping, NoDamping, TholeDamping
from eqff.longrange.multipoles.interaction import MultipoleInteraction
from eqff.longrange.multipoles.moments import LocalFields, Moments, traceless
from eqff.longrange.multipoles.points import potential_at
from eqff.longrange.multipoles.scaling import PairScaling
from eqff.longrange.multipoles.switching import SwitchedDamping
from eqff.testing.graphs import graph_of, on_each_other
from eqff.testing.structures import crystal, molecule, slab, wire
from eqff.units import COULOMB_CONSTANT

EVERY = {"molecule": molecule(1), "wire": wire(2), "slab": slab(3), "crystal": crystal(4)}
NUMBER = sum(map(len, EVERY.values()))
DAMPINGS = {
    "none": NoDamping(),
    "gaussian": GaussianDamping(torch.linspace(0.2, 0.5, NUMBER, dtype=torch.float64)),
    "thole": TholeDamping(torch.linspace(0.1, 0.6, NUMBER, dtype=torch.float64), 0.39),
    "switch": SwitchedDamping(0.8, 3.0),
}


def random_moments(number, seed=0):
    generator = torch.Generator().manual_seed(seed)
    q, mu, theta = (torch.randn(number, *s, generator=generator, dtype=torch.float64) for s in ((), (3,), (3, 3)))
    return Moments(q, 0.5 * mu, 0.3 * theta)


def bound_to(structures, damping=None, scaling=None, **settings):
    interaction = MultipoleInteraction(cutoff=settings.pop("cutoff", 5.0), **settings)
    graph = graph_of(structures, interaction.neighbour_lists, torch.float64)
    return interaction.bind(graph, damping, scaling)


def contracted(moments: Moments, fields: LocalFields) -> torch.Tensor:
    """q phi - mu·E - Theta:(grad E)/3 of each atom."""
    energy = moments.charges * fields.potential - (moments.dipoles * fields.field).sum(dim=1)
    return energy - (traceless(moments.quadrupoles) * fields.gradient).sum(dim=(1, 2)) / 3


@pytest.mark.parametrize("mesh_from", [1, 10**6], ids=["mesh", "waves"])
@pytest.mark.parametrize("damping", DAMPINGS.values(), ids=DAMPINGS.keys())
def test_energy_is_half_the_moments_in_their_fields(damping, mesh_from: int):
    groups = torch.zeros(NUMBER, dtype=torch.int64)
    groups[len(EVERY["molecule"]) :] = -1
    bound = bound_to(EVERY.values(), mesh_from=mesh_from)
    scaling = PairScaling.of_groups(groups, bound.graph, 0.4)
    bound, moments = bound.rescaled(damping, scaling), random_moments(NUMBER)
    atoms = 0.5 * contracted(moments, bound.fields(moments, 2))
    energy = torch.zeros(4, dtype=torch.float64).index_add(0, bound.graph.batch, atoms)
    torch.testing.assert_close(bound.energy(moments), energy, rtol=1e-11, atol=1e-9)
    other = random_moments(NUMBER, 1)
    there, back = contracted(other, bound.fields(moments, 2)), contracted(moments, bound.fields(other, 2))
    torch.testing.assert_close(there.sum(), back.sum(), rtol=1e-11, atol=1e-9)


def test_fields_are_derivatives_of_each_other():
    """By moving an atom without moments: E = -grad phi, and the gradient of E."""
    for mesh_from in (1, 10**6):
        interaction = MultipoleInteraction(cutoff=5.0, accuracy=1e-6, mesh_from=mesh_from)
        graph = graph_of(EVERY.values(), interaction.neighbour_lists, torch.float64)
        probes = torch.tensor([0, len(EVERY["molecule"]), NUMBER - 1])
        moments = random_moments(NUMBER)
        for values in (moments.charges, moments.dipoles, moments.quadrupoles):
            values[probes] = 0.0
        positions = graph.positions.clone().requires_grad_()
        fields = interaction.bind(graph.deformed(positions)).fields(moments, 2)
        slope = -torch.autograd.grad(fields.potential[probes].sum(), positions, retain_graph=True)[0]
        torch.testing.assert_close(slope[probes], fields.field[probes], rtol=1e-9, atol=1e-4)
        for b in range(3):
            slope = torch.autograd.grad(fields.field[probes, b].sum(), positions, retain_graph=True)[0]
            torch.testing.assert_close(slope[probes], fields.gradient[probes, :, b], rtol=1e-9, atol=1e-3)


def test_matrix_is_the_linear_map_of_dipoles():
    structures = list(EVERY.values())
    bound = bound_to(structures, accuracy=1e-10).rescaled(DAMPINGS["thole"])
    dipoles = random_moments(NUMBER).dipoles
    matrix, padding = bound.matrix()
    torch.testing.assert_close(matrix, matrix.transpose(1, 2), rtol=0, atol=1e-10)
    product = matrix @ padding.gather(dipoles).flatten(1)[..., None]
    product = padding.scatter(product.reshape(len(structures), -1, 3))
    fields = bound.fields(Moments(dipoles=dipoles), 1).field
    torch.testing.assert_close(product, fields, rtol=1e-10, atol=1e-9)
    torch.testing.assert_close(bound.dipole_fields(dipoles), fields, rtol=1e-13, atol=1e-11)
    with pytest.raises(ModelError, match="Raise mesh_from"):
        bound_to(structures, mesh_from=1).matrix()


def test_mesh_agrees_with_waves():
    structures, moments = [atoms * tuple(1 + atoms.pbc) for atoms in (wire(2), slab(3), crystal(4))], None
    for atoms in structures:
        atoms.info.update(total_charge=0, multiplicity=1 + int(atoms.numbers.sum()) % 2)
    moments = random_moments(sum(map(len, structures)))
    results = []
    for mesh_from in (1, 10**6):
        interaction = MultipoleInteraction(cutoff=6.0, accuracy=1e-7, mesh_from=mesh_from)
        graph = graph_of(structures, interaction.neighbour_lists, torch.float64)
        bound = interaction.bind

        def energy(moved, bound=bound):
            here = bound(moved)
            return here.energy(moments), vars(here.fields(moments, 2))

        results.append(differentiate(energy, graph, stress=True))
    mesh, waves = results
    for name in ("forces", "field", "gradient"):
        size = float(waves[name].square().mean().sqrt())
        assert float((mesh[name] - waves[name]).square().mean().sqrt()) < 3e-7 * size, name
    size = float(waves["virial"].abs().max())
    assert float((mesh["virial"] - waves["virial"]).abs().max()) < 1e-5 * size


@pytest.mark.parametrize("name", ["crystal", "slab", "molecule"])
@pytest.mark.parametrize("mesh_from", [1, 10**6], ids=["mesh", "waves"])
def test_second_derivatives(name: str, mesh_from: int):
    """By positions, strain and moments together: what training on forces needs."""
    atoms = EVERY[name]
    if name == "molecule" and mesh_from == 1:
        return
    interaction = MultipoleInteraction(cutoff=4.0, accuracy=1e-6, mesh_from=mesh_from)
    graph = graph_of([atoms], interaction.neighbour_lists, torch.float64)
    damping = TholeDamping(torch.full((len(atoms),), 0.5, dtype=torch.float64), 0.39)

    def outputs(positions, strain, charges, dipoles, quadrupoles):
        bound = interaction.bind(graph.deformed(positions, strain), damping)
        moments = Moments(charges, dipoles, quadrupoles)
        return bound.energy(moments), bound.fields(moments, 1).field

    moments = random_moments(len(atoms))
    inputs = (graph.positions.clone(), torch.zeros(1, 3, 3, dtype=torch.float64), *vars(moments).values())
    inputs = [value.requires_grad_() for value in inputs]
    assert torch.autograd.gradgradcheck(outputs, inputs, atol=1e-3, rtol=1e-3, fast_mode=True)


def test_damping_of_far_pairs_changes_nothing_under_periodic_boundaries():
    """In a large cell a damped pair is the open one, plus what images do undamped."""
    pair = molecule(3, 2)
    cell = pair.copy()
    cell.set_cell(np.eye(3) * 20)
    cell.pbc = True
    moments = random_moments(2)
    damping = GaussianDamping(torch.tensor([0.4, 0.6], dtype=torch.float64))
    differences = []
    for atoms in (pair, cell):
        bound = bound_to([atoms], cutoff=6.0, accuracy=1e-10)
        differences.append(bound.energy(moments) - bound.rescaled(damping).energy(moments))
    assert float(differences[0].abs()) > 1e-3
    torch.testing.assert_close(*differences, rtol=0, atol=1e-8)


def test_trace_of_quadrupoles_does_not_act():
    moments = random_moments(NUMBER)
    bound = bound_to(EVERY.values(), DAMPINGS["gaussian"])
    skew = torch.randn(NUMBER, 3, 3, dtype=torch.float64)
    changed = moments.quadrupoles + skew - skew.transpose(1, 2) + 5 * torch.eye(3)
    other = Moments(moments.charges, moments.dipoles, changed)
    torch.testing.assert_close(bound.energy(other), bound.energy(moments), rtol=1e-12, atol=1e-10)


def test_groups_are_all_pairs_of_one_structure():
    graph = graph_of([molecule(1, 5), molecule(2, 4)], {}, torch.float64)
    batch = graph.batch
    groups = torch.tensor([3, 0, 3, -1, 3, 3, 3, -1, -1])
    scaling = PairScaling.of_groups(groups, graph, 0.25)
    found = {frozenset(pair) for pair in torch.stack([scaling.first, scaling.second], dim=1).tolist()}
    expected = {
        frozenset(pair)
        for pair in combinations(range(9), 2)
        if groups[pair[0]] == groups[pair[1]] >= 0 and batch[pair[0]] == batch[pair[1]]
    }
    assert found == expected and len(scaling.first) == len(expected)
    assert scaling.factor.unique().tolist() == [0.25]
    nothing = PairScaling.of_groups(torch.full((9,), -1), graph)
    assert nothing.first.numel() == 0


def test_groups_are_those_of_the_lattice_however_oblique_its_cell():
    """Molecules that are cut by the cell's faces, which are near each other where vectors are oblique."""
    atoms = named_molecule("H2O")
    atoms.set_cell([6.0, 7.0, 8.0])
    atoms = Atoms(atoms, pbc=True) * (2, 1, 1)
    oblique = atoms.copy()
    oblique.set_cell(np.array([[1, 0, 0], [2, 1, 0], [-3, 5, 1]]) @ np.asarray(atoms.cell))
    oblique.wrap()
    found = []
    for same in (atoms, oblique):
        graph = graph_of([same], {}, torch.float64, classical=True)
        found.append(PairScaling.of_groups(torch.tensor([0, 0, 0, 1, 1, 1]), graph).vectors(graph))
    assert len(found[0]) == 6 and float(found[0].norm(dim=1).max()) < 1.6
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=1e-12)


def test_a_bonded_crystal_is_refused_without_making_its_pairs():
    """Of 27,000 atoms these would be 364 million, or 9 GB."""
    atoms = bulk("Cu", "sc", a=2.5) * (30, 30, 30)
    atoms.info.update(total_charge=0, multiplicity=1)
    graph = graph_of([atoms], {}, torch.float64)
    with pytest.raises(ModelError, match="more than half of the cell"):
        PairScaling.of_groups(torch.zeros(len(atoms), dtype=torch.int64), graph)


def test_potential_at_points_is_that_at_an_atom():
    structures = [molecule(1), molecule(2, 5)]
    graph = graph_of(structures, {}, torch.float64)
    moments = random_moments(graph.num_atoms)
    probes = torch.tensor([2, 9])
    for values in vars(moments).values():
        values[probes] = 0.0
    keep = torch.ones(graph.num_atoms, dtype=torch.bool)
    keep[probes] = False
    without = [atoms[[i for i in range(len(atoms)) if i != 2]] for atoms in structures]
    for atoms in without:
        atoms.info.update(total_charge=0, multiplicity=1 + int(atoms.numbers.sum()) % 2)
    expected = bound_to(structures).fields(moments, 0).potential[probes]
    fewer = Moments(*(values[keep] for values in vars(moments).values()))
    got = potential_at(graph.positions[probes], torch.tensor([0, 1]), graph_of(without, {}, torch.float64), fewer)
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-10)
    with pytest.raises(ModelError, match="open structures only"):
        potential_at(torch.zeros(1, 3), torch.tensor([0]), graph_of([crystal(4)], {}, torch.float64), fewer)


def test_what_was_not_bound_is_refused():
    interaction = MultipoleInteraction()
    graph = graph_of([molecule(1)], interaction.neighbour_lists, torch.float64)
    with pytest.raises(ModelError, match="bound up to rank 1"):
        interaction.bind(graph, rank=1).energy(random_moments(graph.num_atoms))
    with pytest.raises(ModelError, match="no moments"):
        Moments()
    wide = GaussianDamping(torch.full((len(EVERY["crystal"]),), 4.0, dtype=torch.float64))
    with pytest.raises(ModelError, match="Raise cutoff to"):
        bound_to([EVERY["crystal"]], wide)


def test_terms_share_what_does_not_depend_on_damping():
    """Geometry and lattice sums of one graph are made once, and not shared between other settings."""
    interaction = MultipoleInteraction(cutoff=5.0)
    lists = interaction.neighbour_lists | {"coulomb_6": 6.0}
    graph = graph_of(EVERY.values(), lists, torch.float64)
    first, second = interaction.bind(graph, DAMPINGS["gaussian"]), interaction.bind(graph, DAMPINGS["thole"])
    assert first.nearby is second.nearby and first.sums is second.sums
    for other in (MultipoleInteraction(cutoff=5.0, accuracy=1e-4), MultipoleInteraction(cutoff=6.0)):
        assert other.bind(graph).sums is not first.sums and other.bind(graph).nearby is not first.nearby
    moments = random_moments(NUMBER)
    alone = bound_to(EVERY.values(), DAMPINGS["thole"])
    torch.testing.assert_close(second.energy(moments), alone.energy(moments), rtol=0, atol=0)


def test_dipoles_alone():
    """What iterations use does what is used for all moments."""
    dipoles = random_moments(NUMBER).dipoles
    bound = bound_to(EVERY.values(), DAMPINGS["thole"])
    torch.testing.assert_close(bound.dipole_energy(dipoles), bound.energy(Moments(dipoles=dipoles)))
    torch.testing.assert_close(bound.dipole_fields(dipoles), bound.fields(Moments(dipoles=dipoles), 1).field)


def test_the_cutoff_that_is_recommended_suffices():
    atoms = EVERY["crystal"]
    wide = GaussianDamping(torch.full((len(atoms),), 1.0, dtype=torch.float64))
    with pytest.raises(ModelError, match="Raise cutoff to") as caught:
        bound_to([atoms], wide, accuracy=1e-5)
    advice = float(re.search(r"Raise cutoff to ([\d.]+) Å", str(caught.value))[1])
    bound_to([atoms], wide, accuracy=1e-5, cutoff=advice)


def test_potentials_of_points_are_harmonic():
    """The gradient of the field has no trace away from charges; a charged crystal has that of its background."""
    moments = random_moments(NUMBER)
    bound = bound_to(EVERY.values(), accuracy=1e-10)
    trace = bound.fields(moments, 2).gradient.diagonal(dim1=1, dim2=2).sum(dim=1)
    graph = bound.graph
    totals = torch.zeros(4, dtype=torch.float64).index_add(0, graph.batch, moments.charges)
    volume = torch.where(graph.volume > 0, graph.volume, torch.inf)
    expected = -4 * torch.pi * COULOMB_CONSTANT * totals / volume
    torch.testing.assert_close(trace, expected[graph.batch], rtol=0, atol=1e-6)


def test_nothing_jumps_at_the_cutoff_however_low_the_accuracy():
    moments, energies = random_moments(2), []
    for distance in (5.0 - 1e-7, 5.0 + 1e-7):
        atoms = Atoms("HF", [[0, 0, 0], [0, 0, distance]], cell=[20.0] * 3, pbc=True)
        atoms.info.update(total_charge=0, multiplicity=1)
        energies.append(bound_to([atoms], cutoff=5.0, accuracy=0.05).energy(moments))
    torch.testing.assert_close(*energies, rtol=0, atol=1e-5)


def test_atoms_on_each_other_are_named():
    interaction = MultipoleInteraction(cutoff=5.0)
    graph = graph_of([crystal(4)], interaction.neighbour_lists, torch.float64)
    with pytest.raises(ModelError, match="are 0 Å apart: their interaction of multipoles is not finite"):
        interaction.bind(on_each_other(graph, 3, 1))
