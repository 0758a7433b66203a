"""Neighbour lists in a folder of .npy files, beside the structures that they belong to.

Lists are sorted by receiver, so receivers are kept as one number of neighbours per atom; translations are kept for
periodic structures only, as small integers.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from eqff.data.cache.folder import map_folder, read_manifest, write_manifest
from eqff.data.cache.npy import NpyAppender
from eqff.data.cache.rows import Rows, rows_of, take
from eqff.data.columns import Columns
from eqff.data.neighbours import check_cell, neighbour_pairs

_TYPES = {"ends": np.int64, "sender": np.int32, "degree": np.int32, "shift_ends": np.int64, "shift": np.int16}


class ListWriter:
    """Appends the neighbour lists of structures to a folder.

    Args:
        folder: Empty.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._files = {
            name: NpyAppender(folder / f"{name}.npy", dtype, (3,) if name == "shift" else ())
            for name, dtype in _TYPES.items()
        }
        self._edges = self._shifts = 0
        for name in ("ends", "shift_ends"):
            self._files[name].append(np.zeros(1, np.int64))

    def add(
        self, sender: np.ndarray, degree: np.ndarray, edges: np.ndarray, shift: np.ndarray, shifts: np.ndarray
    ) -> None:
        """Lists of F structures with N atoms.

        Args:
            sender: Within its structure, (E,).
            degree: Neighbours of each atom, (N,).
            edges: Length of each structure's list, (F,).
            shift: Of the structures that are periodic, (S, 3).
            shifts: How many of these each structure has, (F,): the length of its list, or 0.
        """
        self._files["sender"].append(sender)
        self._files["degree"].append(degree)
        self._files["ends"].append(edges.cumsum() + self._edges)
        self._files["shift"].append(shift)
        self._files["shift_ends"].append(shifts.cumsum() + self._shifts)
        self._edges += len(sender)
        self._shifts += len(shift)

    def close(self, about: Mapping[str, Any]) -> None:
        """Finishes the files and writes the manifest."""
        files = {f"{name}.npy": file.close() for name, file in self._files.items()}
        write_manifest(self.folder, {**about, "edges": self._edges, "files": files})


def make_lists(columns: Columns, cutoff: float) -> tuple[np.ndarray, ...]:
    """The neighbour lists of a chunk of structures, as `ListWriter.add` takes them.

    Raises:
        DataError: A periodic direction without a lattice vector.
    """
    cells, periodic, positions = (columns.values[name] for name in ("cell", "pbc", "positions"))
    senders, receivers, shifts = [], [], [np.empty((0, 3), np.int64)]
    edges = np.zeros(len(columns), np.int64)
    for index, (start, end) in enumerate(zip(columns.starts.tolist(), columns.ends.tolist(), strict=True)):
        if periodic[index].any():
            check_cell(cells[index], periodic[index], columns.place(index))
        sender, receiver, shift = neighbour_pairs(positions[start:end], cells[index], periodic[index], cutoff)
        senders.append(sender)
        receivers.append(receiver + start)
        edges[index] = len(sender)
        if periodic[index].any():
            shifts.append(shift)
    degree = np.bincount(np.concatenate(receivers), minlength=int(columns.ends[-1]))
    has_shift = np.where(periodic.any(axis=1), edges, 0)
    return np.concatenate(senders), degree, edges, np.concatenate(shifts), has_shift


class ListStore:
    """The neighbour lists of a folder.

    Args:
        folder: Finished, see `ListWriter`.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.manifest = read_manifest(folder, thorough=False)
        self._arrays = map_folder(folder, self.manifest["files"])

    def __len__(self) -> int:
        return len(self._arrays["ends"]) - 1

    def __reduce__(self) -> tuple[type, tuple[Path]]:
        return ListStore, (self.folder,)  # other processes map the files themselves

    def pieces(self) -> tuple[np.ndarray, ...]:
        """All that is in it, as `ListWriter.add` takes it."""
        arrays = self._arrays
        edges, shifts = np.diff(arrays["ends"]), np.diff(arrays["shift_ends"])
        return arrays["sender"], arrays["degree"], edges, arrays["shift"], shifts

    def lengths(self, index: np.ndarray) -> np.ndarray:
        """Length of the list of structures ``index`` (F,)."""
        ends = self._arrays["ends"]
        return ends[index + 1] - ends[index]

    def read(self, index: np.ndarray, atoms: Rows, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Lists of structures, one after the other, as they are in a batch of them.

        Args:
            index: Structures, (F,).
            atoms: Their rows in arrays per atom.
            sizes: Their numbers of atoms, (F,).

        Returns:
            Sender and receiver counted through all of these structures, (2, E) int64; shift (E, 3) float32; length of
            each list (F,).
        """
        rows, lengths = rows_of(self._arrays["ends"], index)
        first = np.repeat(sizes.cumsum() - sizes, lengths)
        degree = take(self._arrays["degree"], atoms)
        edge_index = np.empty((2, len(first)), np.int64)
        np.add(take(self._arrays["sender"], rows), first, out=edge_index[0])
        edge_index[1] = np.repeat(np.arange(len(degree)), degree)
        shift = np.zeros((len(first), 3), np.float32)
        shift_rows, shifts = rows_of(self._arrays["shift_ends"], index)
        if shifts.any():
            shift[np.repeat(shifts > 0, lengths)] = take(self._arrays["shift"], shift_rows)
        return edge_index, shift, lengths
