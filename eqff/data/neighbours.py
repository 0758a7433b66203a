"""Neighbour lists, by vesin: free, partly periodic and periodic structures, cells smaller than the cutoff included."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from ase.geometry import complete_cell
from vesin import NeighborList

from eqff.data.atomic_data import AtomicData
from eqff.data.graph import CONTACT, LOCAL
from eqff.errors import DataError


def neighbour_pairs(
    positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, cutoff: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All directed pairs within a cutoff, both directions, images of an atom with itself included.

    Args:
        positions: Å, (N, 3); atoms need not be inside of the cell.
        cell: Lattice vectors as rows in Å, (3, 3); rows of directions that are not periodic don't matter.
        pbc: (3,) bool.
        cutoff: Å. An infinite one stands for all pairs of a structure without periodic directions; a periodic one has
            none in such a list.

    Returns:
        sender (E,), receiver (E,) ascending, and shift (E, 3) of the sender in lattice vectors, so that a pair's vector
        is ``positions[sender] - positions[receiver] + shift @ cell``. The order within a receiver is by sender, then
        shift, so that it does not depend on the search.
    """
    if np.isinf(cutoff):
        return _all_pairs(0 if np.any(pbc) else len(positions))
    rows = np.where(np.asarray(pbc)[:, None], cell, 0.0)
    box = complete_cell(rows) if np.any(pbc) else np.zeros((3, 3))
    search = NeighborList(cutoff=cutoff, full_list=True, n_threads=1)
    receiver, sender, shift = search.compute(
        points=np.ascontiguousarray(positions, dtype=np.float64),
        box=np.ascontiguousarray(box, dtype=np.float64),
        periodic=np.asarray(pbc, dtype=bool),
        quantities="ijS",
    )
    receiver, sender = receiver.astype(np.int64), sender.astype(np.int64)
    keys = (sender, receiver) if not np.any(pbc) else (*shift.T[::-1], sender, receiver)
    order = np.lexsort(keys)
    return sender[order], receiver[order], shift[order]


def require_apart(sender: np.ndarray, receiver: np.ndarray, vectors: np.ndarray, where: str) -> None:
    """Checks that no two atoms lie on each other: the direction from one to the other is not defined, nor are forces.

    Args:
        sender: Of each pair, (E,).
        receiver: Likewise.
        vectors: Between them in Å, (E, 3).
        where: The structure, for people.

    Raises:
        DataError: Names the two atoms.
    """
    squares = np.vecdot(vectors, vectors)
    if not squares.min(initial=np.inf) < CONTACT**2:
        return
    pair = int(squares.argmin())
    first, second, length = int(receiver[pair]), int(sender[pair]), float(np.sqrt(squares[pair]))
    raise DataError(
        f"{where}: atoms {first} and {second} (counted from 0) are {length:.2g} Å apart, so their forces are not "
        "defined. Leave out the one that is there twice, or correct the positions or the cell."
    )


def _all_pairs(num_atoms: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    receiver, sender = np.nonzero(~np.eye(num_atoms, dtype=bool))
    return sender, receiver, np.zeros((len(sender), 3), dtype=np.int32)


def add_neighbours(data: AtomicData, lists: Mapping[str, float]) -> AtomicData:
    """Adds neighbour lists to a structure, in place.

    Args:
        data: One structure, not a batch.
        lists: Name and cutoff in Å of each; ``local`` becomes ``edge_index`` and ``edge_shift``, any other name
            ``edge_index_NAME`` and ``edge_shift_NAME``.

    Returns:
        The same object.

    Raises:
        DataError: A periodic direction without a lattice vector, or two atoms that lie on each other.
    """
    positions, cell, pbc = data.positions.numpy(), data.cell[0].numpy(), data.pbc[0].numpy()
    check_cell(cell, pbc, data.place)
    for name, cutoff in lists.items():
        sender, receiver, shift = neighbour_pairs(positions, cell, pbc, float(cutoff))
        if cutoff == min(lists.values()):  # every other list has the pairs of the shortest
            vectors = positions[sender] - positions[receiver] + (shift @ cell if pbc.any() else 0.0)
            require_apart(sender, receiver, vectors, data.place)
        suffix = "" if name == LOCAL else f"_{name}"
        data[f"edge_index{suffix}"] = torch.from_numpy(np.stack((sender, receiver)))
        data[f"edge_shift{suffix}"] = torch.from_numpy(shift.astype(np.float32))
    return data


def check_cell(cell: np.ndarray, pbc: np.ndarray, where: str) -> None:
    """Checks that the periodic lattice vectors (rows of ``cell``, Å) exist and are independent.

    Raises:
        DataError: With the vectors and what to do.
    """
    rows = np.asarray(cell)[np.asarray(pbc, dtype=bool)]
    lengths = np.linalg.norm(rows, axis=1)
    independent = len(rows) == 0 or (
        lengths.min() > 1e-6 and np.linalg.matrix_rank(rows / lengths[:, None], tol=1e-6) == len(rows)
    )
    if not independent:
        axes = ", ".join(axis for axis, periodic in zip("abc", pbc, strict=True) if periodic)
        raise DataError(
            f"{where}: periodic along {axes}, but the lattice vectors {np.round(cell, 4).tolist()} are zero or "
            "dependent there. Give the cell, or set pbc to F in that direction."
        )
