"""Numbers of molecules, and a potential that leaves out their inner pairs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule as named

from eqff.build import ModelContext, build_potential
from eqff.errors import ConfigError
from eqff.heads.molecules import Molecules
from eqff.testing.graphs import graph_of

CONTEXT = ModelContext((1, 8), {1: 0.0, 8: 0.0}, energy_scale=1.0, mean_neighbours=10.0)
CHARGES = {1: 0.4, 8: -0.8}


def waters(*places, cell=None) -> Atoms:
    atoms = Atoms()
    for place in places:
        one = named("H2O")
        one.positions += np.array(place)
        atoms += one
    atoms.info.update(total_charge=0, multiplicity=1)
    if cell is not None:
        atoms.set_cell(np.eye(3) * cell)
        atoms.pbc = True
    return atoms


def numbers_of(structures):
    head = Molecules((1, 8))
    return head(graph_of(structures, head.neighbour_lists, torch.float64), {})["molecules"].tolist()


def test_every_molecule_has_the_number_of_its_first_atom():
    alone = Atoms("H", info={"total_charge": 0, "multiplicity": 2})
    mixed = waters((0, 0, 0), (3, 0, 0))[[0, 3, 1, 4, 2, 5]]
    mixed.info.update(total_charge=0, multiplicity=1)
    assert numbers_of([waters((0, 0, 0), (0, 3, 0)), alone, mixed]) == [0, 0, 0, 3, 3, 3, 0, 0, 1, 0, 1, 0, 1]


def test_bonds_cross_boundaries():
    atoms = waters((0, 0, 0), (4, 4, 4), cell=8.0)
    atoms.wrap()
    assert np.ptp(atoms.positions[:3], axis=0).max() > 4  # so it does cross
    assert numbers_of([atoms]) == [0, 0, 0, 3, 3, 3]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_inner_pairs_are_left_out(dtype: torch.dtype):
    term = {"_target_": "eqff.terms.multipoles.Multipoles", "dipoles": None, "quadrupoles": None, "groups": "molecules"}
    heads = {
        "charges": {"_target_": "eqff.heads.formal_charges.FormalCharges", "charges": CHARGES},
        "molecules": {"_target_": "eqff.heads.molecules.Molecules"},
    }
    potential = build_potential({"heads": heads, "terms": {"multipoles": term}}, CONTEXT, dtype)
    structures = [waters((0, 0, 0)), waters((0, 0, 0), (0, 0, 3))]
    prediction = potential(graph_of(structures, potential.neighbour_lists, dtype))
    first, second = structures[1][:3], structures[1][3:]
    lengths = np.linalg.norm(first.positions[:, None] - second.positions[None], axis=-1)
    charges = np.array([CHARGES[z] for z in first.numbers])
    expected = 14.3996454784255 * float((charges[:, None] * charges / lengths).sum())
    assert prediction["energy"].tolist() == pytest.approx([0.0, expected], rel=1e-5, abs=1e-5)
    assert prediction["molecules"].tolist() == [0, 0, 0, 0, 0, 0, 3, 3, 3]


def test_ions_are_no_part_of_the_molecules_around_them():
    """Sodium 2.3 Å from oxygen is within 1.25 times the sum of covalent radii, 2.9 Å."""
    atoms = waters((0, 0, 0), (0, 0, 5.0))
    ion = Atoms("Na", [atoms.positions[0] + np.array([0, 0, 2.3])])
    solution = atoms + ion
    solution.info.update(total_charge=1, multiplicity=1)
    found = {}
    for alone in ((), ("Na",), (11,)):
        head = Molecules((1, 8, 11), alone=alone)
        graph = graph_of([solution], head.neighbour_lists, torch.float64)
        found[alone] = head(graph, {})["molecules"].tolist()
    assert found[()] != found[("Na",)] == found[(11,)] == [0, 0, 0, 3, 3, 3, 6]


@pytest.mark.parametrize("element", ["Na+", 0, 200, "X"])
def test_element_that_does_not_exist(element):
    with pytest.raises(ConfigError, match="alone: there is no element"):
        Molecules((1, 8), alone=(element,))


def test_nothing_but_ions():
    head = Molecules((11, 17), alone=("Na", "Cl"))
    salt = Atoms("NaCl", [[0, 0, 0], [0, 0, 2.4]], info={"total_charge": 0, "multiplicity": 1})
    assert head(graph_of([salt], head.neighbour_lists, torch.float64), {})["molecules"].tolist() == [0, 1]
