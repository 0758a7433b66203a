"""A set of structures that lies on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch_geometric.data import Batch

from eqff.data import fields as table
from eqff.data.atomic_data import AtomicData
from eqff.data.batching import assemble
from eqff.data.cache.lists import ListStore
from eqff.data.cache.rows import Rows
from eqff.data.cache.structures import StructureStore
from eqff.data.columns import Columns
from eqff.data.external import COUNT, EXTERNAL
from eqff.data.frame_sequence import CHUNK, FrameSequence
from eqff.data.graph import LOCAL
from eqff.data.level_shift import shift_columns

ListMaker = Callable[[float, str], ListStore]
"""From a cutoff in Å and a title to the neighbour lists of all structures of a store, built if they are not there."""


class CachedFrames(FrameSequence):
    """Structures of a cache, or some of them; only what is asked for is loaded.

    Args:
        store: Of the structures.
        make_lists: Finds or builds neighbour lists.
        index: Which structures, (F,); None for all.
        labels: What structures have; by default what the store has.
        lists: Neighbour lists by name.
        shift: See `shift_levels`.
    """

    def __init__(
        self,
        store: StructureStore,
        make_lists: ListMaker,
        index: np.ndarray | None = None,
        labels: Sequence[str] | None = None,
        lists: Mapping[str, ListStore] | None = None,
        shift: tuple[str, Mapping[str, Mapping[int, float]]] = ("", {}),
    ):
        self._store = store
        self._make_lists = make_lists
        self._index = np.arange(len(store)) if index is None else index
        self._labels = tuple(store.labels if labels is None else labels)
        self._lists = dict(lists or {})
        self._shift = shift

    def __len__(self) -> int:
        return len(self._index)

    @property
    def labels(self) -> tuple[str, ...]:
        """See `FrameSequence`."""
        return self._labels

    def __iter__(self) -> Iterator[AtomicData]:
        return (self.frame(index) for index in range(len(self)))

    def frame(self, index: int) -> AtomicData:
        """See `FrameSequence`."""
        chosen = self._index[index : index + 1]
        columns, atoms = self._read(chosen)
        tensors = {name: torch.from_numpy(values) for name, values in _values(columns).items()}
        texts = {name: words[0] for name, words in columns.texts.items()}
        frame = AtomicData(num_nodes=int(columns.sizes[0]), **tensors, **texts, frame=int(columns.frame[0]))
        for name, store in self._lists.items():
            edge_index, shift, _ = store.read(chosen, atoms, columns.sizes)
            frame[_suffixed("edge_index", name)] = torch.from_numpy(edge_index)
            frame[_suffixed("edge_shift", name)] = torch.from_numpy(shift)
        return frame

    def select(self, indices: Sequence[int]) -> CachedFrames:
        """See `FrameSequence`."""
        chosen = self._index[np.asarray(indices, dtype=np.int64)]
        return CachedFrames(self._store, self._make_lists, chosen, self._labels, self._lists, self._shift)

    def chunks(self, size: int = CHUNK) -> Iterator[Columns]:
        """See `FrameSequence`."""
        for start in range(0, len(self), size):
            yield self._read(self._index[start : start + size])[0]

    def batch(self, indices: Sequence[int]) -> Batch:
        """See `FrameSequence`; put together from slices of the files."""
        chosen = self._index[np.asarray(indices, dtype=np.int64)]
        columns, atoms = self._read(chosen)
        ones = np.ones(len(chosen), np.int64)
        values = {name: (torch.from_numpy(rows), columns.rows(name)) for name, rows in _values(columns).items()}
        values |= {name: (list(words), ones) for name, words in columns.texts.items()}
        values["frame"] = (torch.from_numpy(columns.frame), ones)
        for name, store in self._lists.items():
            edge_index, shift, lengths = store.read(chosen, atoms, columns.sizes)
            values[_suffixed("edge_index", name)] = (torch.from_numpy(edge_index), lengths)
            values[_suffixed("edge_shift", name)] = (torch.from_numpy(shift), lengths)
        return assemble(AtomicData, values, columns.sizes)

    def sizes(self, what: str) -> np.ndarray:
        """See `FrameSequence`."""
        if what == "local":
            return self._lists[LOCAL].lengths(self._index)
        if what == "atoms" or not self._lists:
            return self._store.ends[self._index + 1] - self._store.ends[self._index]
        return np.maximum(sum(store.lengths(self._index) for store in self._lists.values()), 1)

    def shortest(self) -> np.ndarray:
        """See `FrameSequence`."""
        return self._store.extra("shortest", self._index)

    def fingerprints(self) -> np.ndarray:
        """See `FrameSequence`."""
        return self._store.extra("fingerprint", self._index)

    def fill(self, labels: Sequence[str]) -> None:
        """See `FrameSequence`."""
        self._labels = tuple(name for name in table.names("label") if name in labels or name in self._labels)

    def shift_levels(self, level: str, offsets: Mapping[str, Mapping[int, float]]) -> None:
        """See `FrameSequence`; energies are shifted whenever they are read."""
        self._shift = (level, offsets)

    def add_neighbours(self, lists: Mapping[str, float], title: str = "") -> None:
        """See `FrameSequence`; lists are built for all structures of the cache at once, and kept in it."""
        self._lists |= {name: self._make_lists(float(cutoff), title) for name, cutoff in lists.items()}

    def _read(self, chosen: np.ndarray) -> tuple[Columns, Rows]:
        columns, atoms = self._store.read(chosen, self._labels)
        return shift_columns(columns, *self._shift), atoms


def _values(columns: Columns) -> dict[str, np.ndarray]:
    """Those that structures have; external charges only where there are some."""
    if columns.external is not None and columns.external.any():
        return {**columns.values, COUNT: columns.external}
    return {name: values for name, values in columns.values.items() if name not in EXTERNAL}


def _suffixed(key: str, name: str) -> str:
    return key if name == LOCAL else f"{key}_{name}"
