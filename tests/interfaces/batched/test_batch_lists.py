"""Lists of a batch: along any trajectory, wrapped or not, the pairs of each structure are those of a new search."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from eqff.data.neighbours import neighbour_pairs
from eqff.errors import DataError, ModelError
from eqff.interfaces.batched.lists import BatchLists, Geometry
from eqff.interfaces.skin import FEW
from eqff.testing.structures import crystal, molecule, slab, wire

CUTOFFS = {"local": 3.0, "wide": 4.5}


def geometry(structures, dtype=torch.float64):
    """Of ASE's atoms."""
    return Geometry(
        torch.tensor(np.concatenate([atoms.positions for atoms in structures]), dtype=dtype),
        torch.tensor(np.stack([np.where(a.pbc[:, None], a.cell.array, 0.0) for a in structures]), dtype=dtype),
        torch.tensor(np.stack([atoms.pbc for atoms in structures])),
        torch.repeat_interleave(torch.tensor([len(atoms) for atoms in structures])),
    )


def rows(sender, receiver, vectors):
    """Pairs as rows that can be compared in any order."""
    table = np.column_stack([receiver, sender, np.round(vectors, 6)])
    return table[np.lexsort(table.T[::-1])] + 0.0  # no negative zeros


def assert_same(lists, structures):
    found = geometry(structures)
    positions, pairs = lists(found)
    starts = np.cumsum([0, *(len(atoms) for atoms in structures)])
    for name, cutoff in lists.cutoffs.items():
        sender, receiver = pairs[name].index
        assert bool((receiver.diff() >= 0).all())
        shifts = (pairs[name].shift[:, None] @ found.cell[found.batch[receiver]])[:, 0]
        vectors = positions[sender] - positions[receiver] + shifts
        expected = []
        for atoms, start in zip(structures, starts, strict=False):
            one, other, shift = neighbour_pairs(atoms.positions, atoms.cell.array, atoms.pbc, cutoff)
            box = np.where(atoms.pbc[:, None], atoms.cell.array, 0.0)
            lengths = atoms.positions[one] - atoms.positions[other] + shift @ box
            expected.append(rows(one + start, other + start, lengths))
        np.testing.assert_allclose(
            rows(sender.numpy(), receiver.numpy(), vectors.numpy()), np.concatenate(expected), atol=2e-6
        )


@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    skin=st.sampled_from([0.0, 0.4, 1.5]),
    strained=st.booleans(),
    wrapped=st.booleans(),
)
def test_along_random_walks(seed, skin, strained, wrapped):
    rng, lists = np.random.default_rng(seed), BatchLists(CUTOFFS, skin)
    structures = [molecule(1, 5), crystal(2), molecule(3, FEW + 3), slab(4), molecule(5, 1), wire(6)]
    for _ in range(8):
        assert_same(lists, structures)
        for atoms in structures:
            atoms.positions += 0.06 * rng.standard_normal(atoms.positions.shape)
            if strained and atoms.pbc.any():
                atoms.set_cell(atoms.cell @ (np.eye(3) + 0.02 * rng.standard_normal((3, 3))), scale_atoms=True)
            if wrapped and atoms.pbc.all():
                atoms.wrap()


def test_searches_serve_several_steps_and_only_who_needs_one():
    still, moving, small = crystal(1), crystal(2), molecule(3, 5)
    lists = BatchLists(CUTOFFS, 0.5)
    for _ in range(20):
        assert_same(lists, [still, moving, small])
        moving.positions[0] += 0.05
        moving.wrap()
    assert lists.updates == 20
    assert 3 < lists.searches < 3 + 12  # the first of all; then those of the one that moves, each after 0.25 Å


def test_other_structures_are_searched_anew():
    lists = BatchLists(CUTOFFS, 0.5)
    for structures in ([crystal(1), crystal(2)], [crystal(2)], [crystal(2), molecule(1, 4)], [crystal(3), slab(1)]):
        assert_same(lists, structures)


def test_complete_pairs_of_open_structures():
    """A list without a cutoff: all pairs of molecules, none of crystals, and no search again."""
    lists = BatchLists({"all": np.inf}, 0.5)
    structures = [molecule(1, 5), crystal(2), molecule(3, 40)]
    for _ in range(3):
        assert_same(lists, structures)
        for atoms in structures:
            atoms.positions += 3.0 * np.random.default_rng(1).standard_normal(atoms.positions.shape)
    assert len(lists(geometry(structures))[1]["all"].index[0]) == 5 * 4 + 40 * 39


class RoundedProducts(TorchDispatchMode):
    """Names of the matrix products whose factors TF32 would round on a GPU."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        if name in ("mm", "bmm", "mv", "addmm", "baddbmm") and args[0].dtype == torch.float32:
            self.names.add(name)
        return function(*args, **(kwargs or {}))


def test_places_are_computed_without_products_that_tf32_would_round():
    lists, structures = BatchLists(CUTOFFS, 0.5), [crystal(1), slab(2), molecule(3, FEW + 3)]
    with RoundedProducts() as products:
        for _ in range(3):
            lists(geometry(structures, torch.float32))
            for atoms in structures[:2]:
                atoms.set_cell(1.002 * atoms.cell, scale_atoms=True)
    assert lists.updates == 3 and not products.names


def test_errors():
    with pytest.raises(ModelError, match="skin is -1"):
        BatchLists(CUTOFFS, -1)
    flat = crystal(1)
    flat.cell[2] = 0
    with pytest.raises(DataError, match="structure 1 of the batch"):
        BatchLists(CUTOFFS, 0.5)(geometry([molecule(1), flat]))
    twice = molecule(2, 5)
    twice.positions[4] = twice.positions[2] + [0.0, 0.0, 5e-5]
    for cutoffs in (CUTOFFS, {"all": np.inf}):
        with pytest.raises(DataError, match="structure 1 of the batch: atoms 2 and 4 .* are 5e-05 Å apart"):
            BatchLists(cutoffs, 0.5)(geometry([molecule(1), twice, crystal(3)]))
