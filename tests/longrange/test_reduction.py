"""Oblique cells: another basis of the same lattice, and meshes that are as accurate along it."""

import math

import pytest
import torch
from ase.build import bulk

from eqff.longrange.interaction import LatticeInteraction
from eqff.longrange.kernels import PointKernel
from eqff.longrange.multipoles.interaction import MultipoleInteraction
from eqff.longrange.multipoles.moments import Moments
from eqff.longrange.reduction import OBLIQUE, less_oblique
from eqff.testing.graphs import graph_of

OBLIQUELY = torch.tensor([[1.0, 0.0, 0.0], [3.0, 1.0, 0.0], [-5.0, -2.0, 1.0]], dtype=torch.float64)


def double(rows):
    return torch.tensor(rows, dtype=torch.float64)


def test_same_lattice_with_short_vectors():
    cell = double([[5.0, 0.2, 0.0], [0.3, 6.0, -0.4], [0.0, 0.5, 7.0]])
    found = less_oblique(torch.stack([OBLIQUELY @ cell, cell]), torch.ones(2, 3, dtype=torch.bool))
    whole = found[0] @ torch.linalg.inv(cell)
    torch.testing.assert_close(whole, whole.round(), rtol=0, atol=1e-10)
    assert abs(float(torch.linalg.det(whole))) == pytest.approx(1.0)
    assert found[0].norm(dim=1).sort().values.tolist() == pytest.approx(cell.norm(dim=1).sort().values.tolist())
    assert torch.equal(found[1], cell)


@pytest.mark.parametrize("angle", [55, 60, 90, 120, 125])
def test_common_cells_stay(angle):
    rad = math.radians(angle)
    cell = double([[4.0, 0.0, 0.0], [4.0 * math.cos(rad), 4.0 * math.sin(rad), 0.0], [0.0, 0.0, 6.0]])[None]
    assert abs(math.cos(rad)) < OBLIQUE
    assert less_oblique(cell, torch.ones(1, 3, dtype=torch.bool)) is cell


def test_open_directions_are_left_alone():
    cell = double([[5.0, 0.0, 0.0], [20.0, 6.0, 0.0], [0.0, 30.0, 7.0]])[None]
    found = less_oblique(cell, torch.tensor([[True, False, True]]))
    assert found is cell
    slab = less_oblique(cell, torch.tensor([[True, True, False]]))
    torch.testing.assert_close(slab[0], double([[5.0, 0.0, 0.0], [0.0, 6.0, 0.0], [0.0, 30.0, 7.0]]))


def test_a_vector_that_is_absent():
    cell = double([[5.0, 0.0, 0.0], [20.0, 6.0, 0.0], [0.0, 0.0, 0.0]])[None]
    assert bool(less_oblique(cell, torch.tensor([[True, True, False]])).isfinite().all())


def test_derivatives_reach_the_given_cell():
    cell = (OBLIQUELY @ double([[5.0, 0.2, 0.0], [0.3, 6.0, -0.4], [0.0, 0.5, 7.0]]))[None].requires_grad_()
    every = torch.ones(1, 3, dtype=torch.bool)
    assert torch.autograd.gradcheck(lambda cell: less_oblique(cell, every), cell)


@pytest.mark.parametrize("pbc", [(True, True, True), (True, True, False)])
def test_meshes_of_oblique_cells_are_as_accurate(pbc):
    """Whichever vectors the crystal is given by; along oblique ones errors were up to a hundred times as large."""
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    atoms.rattle(0.25, seed=1)
    atoms.pbc = pbc
    oblique = atoms.copy()
    rows = OBLIQUELY if all(pbc) else double([[1.0, 0.0, 0.0], [3.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    oblique.set_cell(rows.numpy() @ atoms.cell.array)
    charges = torch.where(torch.tensor(atoms.numbers) == 11, 1.0, -1.0).double()
    dipoles = 0.2 * torch.randn(len(atoms), 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def fields(frame, accuracy, mesh_from):
        charged = LatticeInteraction(PointKernel(), accuracy=accuracy, mesh_from=mesh_from)
        polar = MultipoleInteraction(accuracy=accuracy, mesh_from=mesh_from)
        graph = graph_of([frame], charged.neighbour_lists | polar.neighbour_lists, torch.float64, classical=True)
        potential = charged.bind(graph).potential(charges)
        return torch.cat([potential[:, None], polar.bind(graph).fields(Moments(charges, dipoles), 1).field], dim=1)

    exact = fields(atoms, 1e-12, 10**6)
    torch.testing.assert_close(fields(oblique, 1e-12, 10**6), exact, rtol=0, atol=1e-9)
    plain, found = ((fields(frame, 1e-5, 1) - exact).square().mean(dim=0).sqrt() for frame in (atoms, oblique))
    assert bool((found < 2 * plain).all())
