"""Many-body dispersion: known limits, symmetric molecules, lattices, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.build import molecule as named_molecule

from eqff.data.graph import AtomicGraph
from eqff.derivatives import differentiate
from eqff.dispersion.all_pairs import AllPairs, pair_lists
from eqff.dispersion.free_atoms import FreeAtoms
from eqff.dispersion.mbd.blocks import BlockLayout
from eqff.dispersion.mbd.energy import _lattice_part, many_body_dispersion
from eqff.dispersion.mbd.limits import memory
from eqff.dispersion.mbd.sampling import samples_of
from eqff.dispersion.mbd.screening import imaginary_frequencies
from eqff.dispersion.mbd.settings import MBDSettings
from eqff.dispersion.mbd.tensors import ewald_near, gaussians, points
from eqff.errors import ModelError
from eqff.longrange.tuning import Splitting
from eqff.testing.differences import central_difference
from eqff.testing.graphs import graph_of
from eqff.testing.structures import crystal, molecule, slab, wire

PBE = MBDSettings(beta=0.83, splitting=Splitting.of(11.0, 1e-10))


def graph(structures: list[Atoms], settings: MBDSettings = PBE) -> AtomicGraph:
    return graph_of(structures, pair_lists(settings.splitting.cutoff), torch.float64, classical=True)


def energies(graph: AtomicGraph, settings: MBDSettings = PBE, volume: float = 1.0) -> torch.Tensor:
    free = FreeAtoms(tuple(set(graph.numbers.tolist())))
    volumes = torch.full((graph.num_atoms,), volume, dtype=torch.float64)
    return many_body_dispersion(graph, free(graph.numbers, volumes), settings).energy


def energy(atoms: Atoms, settings: MBDSettings = PBE, volume: float = 1.0) -> float:
    return float(energies(graph([atoms], settings), settings, volume))


def argon(distance: float) -> Atoms:
    return Atoms("Ar2", [[0, 0, 0], [0, 0, distance]])


def test_two_atoms_from_afar_have_their_c6():
    """-C6/r⁶: oscillators of frequency 4 C6 / (3 alpha²) attract each other as London says."""
    c6 = float(FreeAtoms((18,))(torch.tensor([18])).c6)
    assert energy(argon(25.0)) == pytest.approx(-c6 / 25.0**6, rel=1e-4)


def test_far_molecules_fall_off_as_the_sixth_power():
    """Also between molecules, whose polarizabilities are many-body ones: twice as far is 64 times less."""
    first, second = molecule(1, 5), molecule(2, 4)
    parts, rest = energy(first) + energy(second), []
    for distance in (24.0, 48.0):
        both_sides = 0.0  # together they don't depend on what is called a molecule's centre
        for side in (-distance, distance):
            moved = second.copy()
            moved.positions += [side, 0, 0]
            both_sides += energy(first + moved) - parts
        rest.append(both_sides)
    assert rest[0] < 0
    assert rest[0] / rest[1] == pytest.approx(64, rel=0.05)


def test_three_atoms_are_more_than_their_pairs():
    """In an equilateral triangle by 9/16 ω alpha³ · 11/8 / r⁹ [Axilrod, Teller and Muto]."""
    side = 9.0
    triangle = Atoms("Ar3", [[0, 0, 0], [side, 0, 0], [side / 2, side * np.sqrt(0.75), 0]])
    plain = replace(PBE, screening=False)
    atom = FreeAtoms((18,))(torch.tensor([18]))
    c9 = 9 / 16 * float(atom.frequency) * float(atom.polarizability) ** 3
    beyond = energy(triangle, plain) - 3 * energy(argon(side), plain)
    assert beyond == pytest.approx(c9 * (1 + 3 / 8) / side**9, rel=0.05)


def test_second_derivatives_of_symmetric_molecules():
    """Benzene and methane have equal eigenvalues; force gradients are finite and those of differences all the same."""
    benzene, methane = named_molecule("C6H6"), named_molecule("CH4")
    batch = graph([benzene, methane, argon(3.7)])
    positions = batch.positions.clone().requires_grad_()
    generator = torch.Generator().manual_seed(0)
    direction, weights = torch.randn(2, *positions.shape, dtype=torch.float64, generator=generator)
    gradient = torch.autograd.grad(energies(batch.deformed(positions), volume=0.7).sum(), positions, create_graph=True)[
        0
    ]
    slope = (torch.autograd.grad((gradient * weights).sum(), positions)[0] * direction).sum()

    def projection(step: float) -> torch.Tensor:
        moved = batch.deformed(batch.positions + step * direction)
        forces = differentiate(lambda g: (energies(g, volume=0.7), {}), moved)["forces"]
        return -(forces * weights).sum()

    assert float(slope) == pytest.approx(float(central_difference(projection, 1e-3)), rel=1e-7)


@pytest.mark.parametrize("grid", [None, (2, 3, 2)], ids=["origin", "grid"])
@pytest.mark.parametrize("atoms", [wire(5), slab(6), crystal(7)], ids=["wire", "slab", "crystal"])
def test_dipole_sums_do_not_depend_on_their_splitting(atoms: Atoms, grid):
    found = [coupling(atoms, Splitting.of(cutoff, 1e-10), grid) for cutoff in (11.0, 16.0)]
    torch.testing.assert_close(*found, rtol=0, atol=1e-9)


@pytest.mark.parametrize("atoms", [wire(5), slab(6)], ids=["wire", "slab"])
def test_dipole_sums_are_direct_ones(atoms: Atoms):
    """Away from q = 0 direct sums converge, here up to 60 Å."""
    grid, reach = (2, 2, 1), 60.0
    settings = replace(PBE, splitting=Splitting.of(reach, 1e-10), grid=grid)
    batch = graph([atoms], settings)
    pairs = AllPairs.of(batch, reach)
    layout = BlockLayout.of(batch, pairs, samples_of(batch, grid, None)[0])
    direct = layout.assemble((points(pairs.lengths) * pairs.fade).blocks(pairs.vectors))
    torch.testing.assert_close(coupling(atoms, PBE.splitting, grid), direct, rtol=0, atol=1e-4)


def coupling(atoms: Atoms, splitting: Splitting, grid) -> torch.Tensor:
    """Undamped T of all atoms."""
    settings = replace(PBE, splitting=splitting, grid=grid)
    batch = graph([atoms], settings)
    pairs = AllPairs.of(batch, splitting.cutoff)
    layout = BlockLayout.of(batch, pairs, samples_of(batch, grid, None)[0])
    near = ewald_near(pairs.lengths, splitting.alpha * pairs.periodic) * pairs.fade
    return layout.assemble(near.blocks(pairs.vectors)) + _lattice_part(batch, layout, settings)


@pytest.mark.parametrize("grid", [(1, 1, 1), (3, 2, 1), (2, 3, 3), (3, 3, 3)], ids=str)
def test_samples_of_q_and_minus_q_are_taken_once(grid: tuple[int, int, int]):
    """Half of the grid with its weights is the whole one, of each of several structures."""
    batch = graph([crystal(1), slab(2), molecule(3)])
    origin, others = samples_of(batch, grid, None)
    assert origin.structure.tolist() == [2] and origin.at_origin
    for structure, shape in ((0, grid), (1, (grid[0], grid[1], 1))):
        chosen = others.structure == structure
        found, weights = others.fractions[chosen], others.weights[chosen]
        every = torch.cartesian_prod(*[(torch.arange(n) + 0.5) / n if n > 1 or structure == 0 else torch.zeros(1)
                                       for n in shape]).to(torch.float64).reshape(-1, 3)  # fmt: skip
        if structure == 1:
            every[:, 2] = 0
            every[:, :2] = torch.cartesian_prod(*[(torch.arange(n) + 0.5) / n for n in shape[:2]])
        shift = torch.tensor([1.0, 2.0, -1.0], dtype=torch.float64)
        half = (weights * torch.cos(2 * torch.pi * found @ shift)).sum()
        torch.testing.assert_close(half, torch.cos(2 * torch.pi * every @ shift).mean())
        assert float(weights.sum()) == pytest.approx(1.0)


def test_spacing_gives_every_cell_its_own_grid():
    """A cell that is twice as long has half as many points, and then the same energy per atom."""
    cell = bulk("Ar", "fcc", a=5.4, cubic=True)
    settings = replace(PBE, spacing=0.6)
    batch = graph([cell, cell.repeat((2, 1, 1))], settings)
    points = torch.bincount(samples_of(batch, None, 0.6)[0].structure)
    assert points.tolist() == [4, 2]
    one, two = energies(batch, settings)
    assert float(two) == pytest.approx(2 * float(one), rel=1e-9)


def test_quadrature_of_imaginary_frequencies():
    """It gives C6 = 3/pi ∫ alpha(iu)² du of every free atom back; cesium, which is slowest, is hardest."""
    nodes, weights = imaginary_frequencies(15)
    elements = (1, 6, 11, 18, 55)
    atoms = FreeAtoms(elements)(torch.tensor(elements))
    dynamic = atoms.polarizability[:, None] / (1 + (nodes / atoms.frequency[:, None]).square())
    found = 3 / torch.pi * (dynamic.square() * weights).sum(dim=1)
    torch.testing.assert_close(found, atoms.c6, rtol=2e-4, atol=0)
    torch.testing.assert_close(found[[0, 1, 3]], atoms.c6[[0, 1, 3]], rtol=1e-8, atol=0)


def test_dipole_tensors():
    """Points are the limit of narrow Gaussians and of an Ewald sum that leaves everything to neighbours."""
    lengths = torch.tensor([1.5, 3.0], dtype=torch.float64)
    vectors = torch.tensor([[1.5, 0, 0], [1.0, 2.0, 2.0]], dtype=torch.float64)
    point = points(lengths).blocks(vectors)
    unit = vectors / lengths[:, None]
    expected = (torch.eye(3) - 3 * unit[:, :, None] * unit[:, None, :]) / lengths[:, None, None] ** 3
    torch.testing.assert_close(point, expected)
    torch.testing.assert_close(gaussians(lengths, torch.tensor(0.1)).blocks(vectors), point)
    torch.testing.assert_close(ewald_near(lengths, torch.zeros(2, dtype=torch.float64)).blocks(vectors), point)
    position = vectors[1].clone()

    def potential(position: torch.Tensor) -> torch.Tensor:
        r = torch.linalg.vector_norm(position)
        return torch.erf(r / 1.7) / r

    hessian = torch.autograd.functional.hessian(potential, position)
    spread = gaussians(lengths[1:], torch.tensor(1.7, dtype=torch.float64)).blocks(vectors[1:])[0]
    torch.testing.assert_close(spread, -hessian)


def test_padding_of_larger_structures_changes_nothing():
    alone, beside = energies(graph([argon(4.0)])), energies(graph([molecule(1, 9), argon(4.0), molecule(4, 1)]))
    torch.testing.assert_close(beside[1:2], alone, rtol=0, atol=1e-13)
    assert float(beside[2]) == pytest.approx(0.0, abs=1e-13)


def cube(spacing: float) -> Atoms:
    return Atoms("K27", spacing * np.stack(np.meshgrid(*[range(3)] * 3), axis=-1).reshape(-1, 3))


@pytest.mark.parametrize(
    ("atoms", "settings", "what"),
    [
        (
            Atoms("K4", [[0, 0, 2.6 * i] for i in range(4)]),
            {"beta": 0.3},
            r"2\.600 Å apart: .* oscillators is -20\.\d+ eV²",
        ),
        (cube(2.0), {"beta": 0.83}, r"2\.000 Å apart: the short-range response has the eigenvalue -0\.0\d+ Å⁻³"),
        (cube(2.5), {"beta": 5.0}, r"2\.500 Å apart: screening gives atom 3 a polarizability of -\d"),
        (bulk("K", "bcc", a=2.5), {"beta": 0.83, "grid": (2, 2, 2)}, r"\d Å apart: .* is -"),
    ],
    ids=["oscillators", "screening", "screened", "crystal"],
)
def test_polarization_catastrophe_names_structure_pair_and_eigenvalue(atoms: Atoms, settings: dict, what: str):
    with pytest.raises(ModelError, match=rf"structure 1 of the batch, atoms \d+ and \d+ of the batch, .*{what}"):
        energies(graph([argon(4.0), atoms]), replace(PBE, **settings))


def test_no_catastrophe_where_atoms_are_apart():
    assert energy(Atoms("K4", [[0, 0, 9.0 * i] for i in range(4)])) < 0


def test_too_large_batches_are_refused_with_numbers():
    settings = replace(PBE, max_memory=0.01)
    big = bulk("Ar", "fcc", a=5.4, cubic=True).repeat(3)
    big.pbc = False
    with pytest.raises(ModelError, match=r"structure 1\) with 108 atoms, takes about \d+\.\d GiB; max_memory is 0.01"):
        energies(graph([argon(4.0), big], settings), settings)


def test_memory_grows_with_everything_that_is_held():
    """More structures, frequencies or q points take more."""

    def needed(structures: list[Atoms], **changes) -> float:
        settings = replace(PBE, **changes)
        batch = graph(structures)
        groups = samples_of(batch, settings.grid, None)
        return memory(batch, AllPairs.of(batch, 11.0), groups, settings)

    one = needed([crystal(1)])
    assert needed([crystal(1), crystal(2)]) > 1.9 * one
    assert needed([crystal(1)], frequencies=31) > 1.5 * one
    assert needed([crystal(1)], grid=(4, 4, 4)) > 2 * one
    assert needed([crystal(1)], screening=False) < 0.5 * one


def test_neighbours_that_do_not_reach_are_refused():
    cesium = bulk("Cs", "bcc", a=6.1)
    with pytest.raises(ModelError, match=r"Damping .* reaches .* Raise cutoff to \d+ Å"):
        energy(cesium, replace(PBE, splitting=Splitting.of(7.0, 1e-6)))
