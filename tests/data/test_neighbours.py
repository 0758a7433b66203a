"""Neighbour lists against ASE's own, and against lattice sums done by hand."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.neighborlist import neighbor_list
from hypothesis import given
from hypothesis import strategies as st

from eqff.data.atoms import from_atoms
from eqff.data.graph import graph_from_batch
from eqff.data.neighbours import add_neighbours, neighbour_pairs
from eqff.errors import DataError


def random_structure(seed: int, pbc: tuple[bool, bool, bool], atoms: int, edge: float) -> Atoms:
    """Atoms anywhere, many outside of a skewed cell with edges of about ``edge`` Å."""
    rng = np.random.default_rng(seed)
    cell = edge * (np.eye(3) + 0.35 * rng.uniform(-1, 1, size=(3, 3)))
    fractional = rng.uniform(-2.5, 2.5, size=(atoms, 3))
    return Atoms(numbers=rng.integers(1, 9, atoms), positions=fractional @ cell, cell=cell, pbc=pbc)


def as_set(sender, receiver, shift) -> list[tuple[int, ...]]:
    return sorted(zip(sender.tolist(), receiver.tolist(), *np.asarray(shift).astype(int).T.tolist(), strict=True))


@given(
    seed=st.integers(0, 10**6),
    pbc=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    atoms=st.integers(1, 12),
    edge=st.sampled_from([1.7, 4.0, 11.0]),
    cutoff=st.sampled_from([1.5, 3.0, 5.0]),
)
def test_same_pairs_as_ase(seed, pbc, atoms, edge, cutoff):
    structure = random_structure(seed, pbc, atoms, edge)
    sender, receiver, shift = neighbour_pairs(structure.positions, structure.cell.array, structure.pbc, cutoff)
    receiver_ase, sender_ase, shift_ase = neighbor_list("ijS", structure, cutoff)
    assert as_set(sender, receiver, shift) == as_set(sender_ase, receiver_ase, shift_ase)
    assert np.all(np.diff(receiver) >= 0)


@given(seed=st.integers(0, 10**6), pbc=st.tuples(st.booleans(), st.booleans(), st.booleans()))
def test_lengths_stay_within_cutoff_and_every_pair_has_its_reverse(seed, pbc):
    structure = random_structure(seed, pbc, 8, 4.0)
    structure.info.update(total_charge=0, multiplicity=1 + int(structure.numbers.sum()) % 2)
    data = add_neighbours(from_atoms(structure), {"local": 4.0, "wide": 6.0})
    tensors = {**data.to_dict(), "batch": torch.zeros(data.num_nodes, dtype=torch.long)}
    graph = graph_from_batch(tensors, torch.float64)
    for name, cutoff in {"local": 4.0, "wide": 6.0}.items():
        edges = graph.edges[name]
        assert edges.lengths.numel() == 0 or 0 < edges.lengths.min() <= edges.lengths.max() < cutoff
        forward = as_set(edges.sender, edges.receiver, edges.shift)
        assert forward == as_set(edges.receiver, edges.sender, -edges.shift)
    assert len(graph.edges["wide"].lengths) >= len(graph.edges["local"].lengths)


@given(seed=st.integers(0, 10**6), pbc=st.tuples(st.booleans(), st.booleans(), st.booleans()))
def test_wrapping_changes_no_vector(seed, pbc):
    structure = random_structure(seed, pbc, 7, 3.5)
    wrapped = structure.copy()
    wrapped.wrap()

    def vectors(atoms: Atoms) -> np.ndarray:
        cell, positions = atoms.cell.array, atoms.positions
        sender, receiver, shift = neighbour_pairs(positions, cell, atoms.pbc, 4.0)
        found = positions[sender] - positions[receiver] + shift @ cell
        rows = np.column_stack([receiver, sender, np.round(found, 6) + 0.0])
        return rows[np.lexsort(rows.T[::-1])]

    np.testing.assert_allclose(vectors(structure), vectors(wrapped), atol=1e-5)


def test_one_atom_in_a_cell_smaller_than_the_cutoff_sees_its_images():
    cell = np.diag([2.0, 2.0, 2.0])
    sender, receiver, shift = neighbour_pairs(np.zeros((1, 3)), cell, np.ones(3, bool), 4.1)
    grid = np.stack(np.meshgrid(*[np.arange(-3, 4)] * 3, indexing="ij"), -1).reshape(-1, 3)
    expected = (np.linalg.norm(grid @ cell, axis=1) < 4.1).sum() - 1
    assert len(sender) == expected and not sender.any() and not receiver.any()
    assert np.all(shift.sum(axis=0) == 0)


@pytest.mark.parametrize("pbc", [(True, False, False), (True, True, False)], ids=["wire", "slab"])
def test_zero_rows_where_not_periodic(pbc):
    cell = np.diag(np.where(pbc, 3.0, 0.0))
    positions = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 50.0]])
    sender, receiver, shift = neighbour_pairs(positions, cell, np.array(pbc), 3.5)
    assert np.all(sender == receiver)
    assert len(sender) == 2 * (2 if sum(pbc) == 1 else 4)
    assert not shift[:, ~np.array(pbc)].any()


def test_periodic_without_a_lattice_vector_is_an_error():
    atoms = Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.7]], cell=[5, 0, 5], pbc=[True, True, True])
    with pytest.raises(DataError, match="periodic along a, b, c.*zero or dependent"):
        from_atoms(atoms, total_charge=0, multiplicity=1)


def test_order_does_not_depend_on_the_search():
    structure = random_structure(3, (True, True, True), 9, 3.0)
    sender, receiver, shift = neighbour_pairs(structure.positions, structure.cell.array, structure.pbc, 4.0)
    keys = np.column_stack([receiver, sender, shift])
    assert [tuple(row) for row in keys] == sorted(tuple(row) for row in keys)


@pytest.mark.parametrize("pbc", [False, True])
@pytest.mark.parametrize("lists", [{"local": 3.0, "all": np.inf}, {"wide": 6.0, "local": 3.0}], ids=["all", "wide"])
def test_atoms_on_each_other_are_named(pbc, lists):
    atoms = Atoms("OHHO", [[0, 0, 0], [0, 0, 1], [0, 1, 0], [0, 0, 9.0 if pbc else 0.0]], cell=[9.0] * 3, pbc=pbc)
    atoms.info.update(total_charge=0, multiplicity=1)
    with pytest.raises(DataError, match=r"atoms 0 and 3 \(counted from 0\) are 0 Å apart"):
        add_neighbours(from_atoms(atoms), lists)
    atoms.positions[3] += [0, 0, 0.01]
    add_neighbours(from_atoms(atoms), lists)
