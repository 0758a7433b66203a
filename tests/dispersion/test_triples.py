"""Triples: each of them once, however many images of one atom it has, and in pieces as in one."""

import itertools

import numpy as np
import pytest
import torch
from ase import Atoms

from eqff.dispersion import three_body
from eqff.dispersion.cutoffs import Cutoff
from eqff.dispersion.references import PairCoefficients
from eqff.dispersion.three_body import TRIPLES, AxilrodTellerMuto
from eqff.testing.graphs import graph_of
from eqff.testing.structures import crystal, molecule, slab
from eqff.units import HARTREE

CUTOFF = Cutoff(4.2, 1.5)


def summed(atoms, positions=None):
    """The energy (1,), C6 of all pairs being 1 and radii 1.5 Å."""
    graph = graph_of([atoms], {TRIPLES: CUTOFF.radius}, torch.float64)
    if positions is not None:
        graph = graph.deformed(positions)
    count = graph.num_atoms
    ones = torch.ones(count, 1, dtype=torch.float64)
    coefficients = PairCoefficients(ones, ones[:, None], torch.zeros(count, dtype=torch.int64))
    radii = torch.full((1, 1), 1.5, dtype=torch.float64)
    return AxilrodTellerMuto(1.0, 16.0, radii, CUTOFF)(graph.edges[TRIPLES], coefficients).sum()


def brute_force(atoms):
    """All unordered triples with an atom in the first cell, divided by how many of their atoms are in it."""
    reach = [range(-3, 4) if periodic else range(1) for periodic in atoms.pbc]
    images = [np.array(shift) for shift in itertools.product(*reach)]
    points = [(i, position + shift @ atoms.cell.array, not shift.any())
              for shift in images for i, position in enumerate(atoms.positions)]  # fmt: skip
    energy = 0.0
    home = [p for p in points if p[2]]
    for first in home:
        near = [p for p in points if 0 < np.linalg.norm(p[1] - first[1]) < CUTOFF.radius]
        for second, third in itertools.combinations(near, 2):
            a, b, c = (np.linalg.norm(x[1] - y[1]) for x, y in ((first, second), (first, third), (second, third)))
            if c < CUTOFF.radius:
                energy += triple(a, b, c) / 3  # every corner of a triple is the first atom once, up to translation
    return energy


def triple(a, b, c):
    cosines = [(x * x + y * y - z * z) / (2 * x * y) for x, y, z in ((a, b, c), (a, c, b), (b, c, a))]
    weight = np.prod(CUTOFF.weight(torch.tensor([a, b, c], dtype=torch.float64)).numpy())
    damping = 1 / (1 + 6 * (1.5**3 / (a * b * c)) ** (16 / 3))
    return weight * damping * (3 * np.prod(cosines) + 1) / (a * b * c) ** 3 / HARTREE**0.5


@pytest.mark.parametrize(
    "atoms", [molecule(3, 6), slab(4, 2), crystal(5, 2), crystal(6, 1)], ids=["molecule", "slab", "two", "one atom"]
)
def test_each_triple_is_counted_once(atoms):
    assert float(summed(atoms)) == pytest.approx(brute_force(atoms), rel=1e-12)


def test_equilateral_and_linear():
    """3 cos³60° + 1 = 11/8 pushes, 3 (-1) + 1 = -2 pulls."""
    triangle = Atoms("Ar3", 2.0 * np.array([[0, 0, 0], [1, 0, 0], [0.5, 0.75**0.5, 0]]))
    line = Atoms("Ar3", [[0, 0, 0], [1.2, 0, 0], [2.4, 0, 0]])
    for atoms, factor, (a, b, c) in ((triangle, 11 / 8, (2, 2, 2)), (line, -2, (1.2, 1.2, 2.4))):
        atoms.info.update(total_charge=0, multiplicity=1)
        damping = 1 / (1 + 6 * (1.5**3 / (a * b * c)) ** (16 / 3))
        expected = factor * damping / (a * b * c) ** 3 / HARTREE**0.5
        assert float(summed(atoms)) == pytest.approx(expected, rel=1e-12)


def test_pieces_change_nothing(monkeypatch):
    """Nor do they change the second derivative, which goes through what is computed again."""
    atoms = crystal(7, 4)
    positions = torch.as_tensor(atoms.positions)

    def hessian():
        return torch.autograd.functional.hessian(lambda x: summed(atoms, x), positions)

    whole = summed(atoms), hessian()
    monkeypatch.setattr(three_body, "CHUNK", 1000)
    torch.testing.assert_close(summed(atoms), whole[0], rtol=1e-13, atol=0)
    torch.testing.assert_close(hessian(), whole[1], rtol=1e-10, atol=1e-12)


def test_two_atoms_have_none():
    pair = molecule(1, 2)
    assert float(summed(pair)) == 0.0
