"""What a set of structures is to the rest of eqff, whether it lies in memory or in a cache on disk."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import overload

import numpy as np
import torch
from rich.progress import track
from torch_geometric.data import Batch

from eqff.data import fields as table
from eqff.data.atomic_data import AtomicData
from eqff.data.batching import collate
from eqff.data.checks import shortest_distance
from eqff.data.columns import Columns, unknown
from eqff.data.levels import shifted
from eqff.data.neighbours import add_neighbours
from eqff.data.packing import count_atoms, count_edges

CHUNK = 4096
_LONG = 20_000  # atoms from which on building neighbour lists is worth a progress bar


class FrameSequence(Sequence[AtomicData]):
    """Structures by index, in chunks and in batches.

    Indexing gives one `AtomicData`, a slice or `select` another sequence of the same kind. What a set needs beyond
    being read (labels that other sets of a run have, neighbour lists) is added in place.
    """

    @overload
    def __getitem__(self, index: int) -> AtomicData: ...
    @overload
    def __getitem__(self, index: slice) -> FrameSequence: ...
    def __getitem__(self, index: int | slice) -> AtomicData | FrameSequence:
        if isinstance(index, slice):
            return self.select(range(*index.indices(len(self))))
        if not -len(self) <= index < len(self):
            raise IndexError(f"there is no frame {index} among {len(self)}")
        return self.frame(int(index) % len(self))

    @abstractmethod
    def frame(self, index: int) -> AtomicData:
        """One structure."""

    @property
    @abstractmethod
    def labels(self) -> tuple[str, ...]:
        """The labels that every structure has, if only as NaN."""

    @abstractmethod
    def select(self, indices: Sequence[int]) -> FrameSequence:
        """The structures with these indices, in this order."""

    @abstractmethod
    def chunks(self, size: int = CHUNK) -> Iterator[Columns]:
        """All structures in order, at most ``size`` at a time."""

    @abstractmethod
    def batch(self, indices: Sequence[int]) -> Batch:
        """A PyG batch of these structures."""

    @abstractmethod
    def sizes(self, what: str) -> np.ndarray:
        """Size of each structure, (F,) int64.

        Args:
            what: "atoms"; "edges", the entries of all neighbour lists (see `count_edges`); or "local", those of the
                list that backbones use.
        """

    @abstractmethod
    def shortest(self) -> np.ndarray:
        """Shortest distance in each structure in Å, (F,); see `shortest_distance`."""

    @abstractmethod
    def fingerprints(self) -> np.ndarray:
        """Hash of what each structure is without its labels, (F,) uint64; see `fingerprints`."""

    @abstractmethod
    def fill(self, labels: Sequence[str]) -> None:
        """Makes these labels exist, NaN where they are unknown."""

    @abstractmethod
    def shift_levels(self, level: str, offsets: Mapping[str, Mapping[int, float]]) -> None:
        """Puts energies of other levels of theory onto one; see `eqff.data.levels.shifted`."""

    @abstractmethod
    def add_neighbours(self, lists: Mapping[str, float], title: str = "") -> None:
        """Gives every structure these neighbour lists (name to cutoff in Å)."""


class MemoryFrames(FrameSequence):
    """Structures in memory.

    Args:
        frames: With the same labels (see `fill_missing_labels`).
    """

    def __init__(self, frames: Sequence[AtomicData]):
        self._frames = list(frames)

    def __len__(self) -> int:
        return len(self._frames)

    def __iter__(self) -> Iterator[AtomicData]:
        return iter(self._frames)

    def frame(self, index: int) -> AtomicData:
        """One structure."""
        return self._frames[index]

    @property
    def labels(self) -> tuple[str, ...]:
        """See `FrameSequence`."""
        return self._frames[0].labels if self._frames else ()

    def select(self, indices: Sequence[int]) -> MemoryFrames:
        """See `FrameSequence`; the structures are shared."""
        return MemoryFrames([self._frames[index] for index in indices])

    def chunks(self, size: int = CHUNK) -> Iterator[Columns]:
        """See `FrameSequence`."""
        for start in range(0, len(self), size):
            yield Columns.of(self._frames[start : start + size])

    def batch(self, indices: Sequence[int]) -> Batch:
        """See `FrameSequence`."""
        return collate([self._frames[index] for index in indices])

    def sizes(self, what: str) -> np.ndarray:
        """See `FrameSequence`."""
        count = {"atoms": count_atoms, "edges": count_edges, "local": _count_local}[what]
        return np.array([count(frame) for frame in self._frames], dtype=np.int64)

    def shortest(self) -> np.ndarray:
        """See `FrameSequence`."""
        return np.array([shortest_distance(frame)[0] for frame in self._frames])

    def fingerprints(self) -> np.ndarray:
        """See `FrameSequence`."""
        return np.concatenate([fingerprints(columns) for columns in self.chunks()])

    def fill(self, labels: Sequence[str]) -> None:
        """See `FrameSequence`."""
        for frame in self._frames:
            for name in sorted(set(labels).difference(frame.labels)):
                frame[name] = torch.from_numpy(unknown(name, frame.num_nodes, 1))

    def shift_levels(self, level: str, offsets: Mapping[str, Mapping[int, float]]) -> None:
        """See `FrameSequence`; the structures that are shared with other sequences stay as they are."""
        if offsets:
            self._frames = [shifted(frame, level, offsets) for frame in self._frames]

    def add_neighbours(self, lists: Mapping[str, float], title: str = "") -> None:
        """See `FrameSequence`."""
        long = sum(frame.num_nodes for frame in self._frames) > _LONG
        for frame in track(self._frames, f"neighbour lists: {title}", disable=not long, transient=True):
            add_neighbours(frame, lists)


def _count_local(frame: AtomicData) -> int:
    return frame.edge_index.shape[1]


def as_frames(frames: Sequence[AtomicData]) -> FrameSequence:
    """The same structures as a `FrameSequence`."""
    return frames if isinstance(frames, FrameSequence) else MemoryFrames(frames)


def fingerprints(columns: Columns) -> np.ndarray:
    """The first 64 bits of a hash of what each structure is, without its labels, (F,) uint64, to find the same
    structure in two sets."""
    names = ("numbers", "positions", "cell", "total_charge", "multiplicity")
    pieces = [columns.pieces(name) for name in names]
    for name in table.optional_inputs():
        stated = columns.stated(name).tolist()
        pieces.append([piece if given else b"" for piece, given in zip(columns.pieces(name), stated, strict=True)])
    pieces = zip(*pieces, strict=True)
    digests = b"".join(hashlib.blake2b(b"".join(parts), digest_size=8).digest() for parts in pieces)
    return np.frombuffer(digests, dtype=np.uint64)
