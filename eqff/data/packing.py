"""From an order of structures to batches of bounded size, and from a batch to equal shares for ranks."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from eqff.data.atomic_data import AtomicData
from eqff.errors import ConfigError

_TRIES = 5
_CHECKED = 3
_CLASS = 1.25
"""Ratio between classes of size; within a class, sizes count as equal when structures are put into an order."""


def count_atoms(frame: AtomicData) -> int:
    """N of a structure."""
    return int(frame.num_nodes)


def count_edges(frame: AtomicData) -> int:
    """Entries of all its neighbour lists, at least 1; of a structure without lists, its number of atoms."""
    lists = [value.shape[1] for name, value in frame.to_dict().items() if name.startswith("edge_index")]
    return max(sum(lists), 1) if lists else count_atoms(frame)


_MEASURES: dict[str, Callable[[AtomicData], int]] = {"atoms": count_atoms, "edges": count_edges}


def measure(frames: Sequence[AtomicData], what: str) -> np.ndarray:
    """Size of each structure in "atoms" or "edges", (M,) int64.

    A sequence that knows its sizes without loading structures can have a method ``sizes(what)``.
    """
    sizes = getattr(frames, "sizes", None)
    values = sizes(what) if sizes is not None else [_MEASURES[what](frame) for frame in frames]
    return np.asarray(values, dtype=np.int64)


class Packing(Protocol):
    """A way to cut an order of structures into batches, always into the same number."""

    def batches(self, order: np.ndarray) -> list[np.ndarray]:
        """Indices (M,) in any order to lists of indices; each is in exactly one, unless leftovers are to be dropped."""

    def __len__(self) -> int: ...


class ByCount:
    """So many structures in each batch, in their order; the last one has what remains.

    Args:
        frames: The structures.
        size: Structures in a batch.
        drop_last: Leave out a last batch that is not full (never the only one).
        shuffled: Not needed here.
    """

    def __init__(self, frames: Sequence[AtomicData], size: int, *, drop_last: bool = False, shuffled: bool = False):
        self.number, self.size = len(frames), size
        self.drop_last = drop_last and self.number > size

    def batches(self, order: np.ndarray) -> list[np.ndarray]:
        """See `Packing`."""
        return [order[start : start + self.size] for start in range(0, len(self) * self.size, self.size)]

    def __len__(self) -> int:
        return self.number // self.size if self.drop_last else -(-self.number // self.size)


class ByLoad:
    """Batches of at most so many atoms or edges, and of nearly equal load.

    Shuffled structures are put, large ones first, into the batch with the least load so far [Graham, SIAM J. Appl.
    Math. 17, 416 (1969)]. The number of batches is the smallest for which that has fitted several times; should it not
    fit for some order, a packing that has fitted before is used with its batches in that order. Without shuffling,
    batches are filled one after the other.

    Args:
        frames: The structures.
        size: Load that a batch may have.
        what: "atoms" or "edges".
        drop_last: Refused: no batch is cut off here.
        shuffled: Whether orders are random ones.

    Raises:
        ConfigError: A structure alone exceeds ``size``.
    """

    def __init__(
        self, frames: Sequence[AtomicData], size: int, what: str, *, drop_last: bool = False, shuffled: bool = False
    ):
        if drop_last:
            raise ConfigError(
                f"data.drop_last has no meaning with data.batch_by={what}: batches are equally full. Set it to false."
            )
        self.loads, self.size, self.shuffled = measure(frames, what), size, shuffled
        _check_largest(frames, self.loads, size, what)
        self._kept = self._first_fits() if shuffled else self._filled(np.arange(len(self.loads)))

    def batches(self, order: np.ndarray) -> list[np.ndarray]:
        """See `Packing`; an order that is not shuffled must be that of the frames."""
        if not self.shuffled:
            return self._kept
        generator = np.random.default_rng(order)
        for _ in range(_TRIES):
            batches = self._levelled(order, len(self))
            if self._fits(batches):
                return [batches[i] for i in generator.permutation(len(batches))]
            order = generator.permutation(order)
        return [self._kept[i] for i in generator.permutation(len(self))]

    def __len__(self) -> int:
        return len(self._kept)

    def _fits(self, batches: Sequence[np.ndarray]) -> bool:
        return all(self.loads[batch].sum() <= self.size for batch in batches)

    def _first_fits(self) -> list[np.ndarray]:
        orders = [np.random.default_rng(seed).permutation(len(self.loads)) for seed in range(_CHECKED)]
        number = -(-int(self.loads.sum()) // self.size)
        while True:
            tried = (self._levelled(order, number) for order in orders)
            fitting = [batches for batches in tried if self._fits(batches)]
            if len(fitting) == _CHECKED:
                return fitting[0]
            number += max(1, number // 100)

    def _levelled(self, order: np.ndarray, number: int) -> list[np.ndarray]:
        classes = np.floor(np.log(self.loads[order]) / np.log(_CLASS))
        order = order[np.argsort(-classes, kind="stable")]
        return [order[places] for places in least_loaded(self.loads[order], number) if len(places)]

    def _filled(self, order: np.ndarray) -> list[np.ndarray]:
        batches: list[np.ndarray] = []
        ends, start = self.loads[order].cumsum(), 0
        while start < len(order):
            before = ends[start - 1] if start else 0
            stop = int(np.searchsorted(ends, before + self.size, side="right"))
            batches.append(order[start:stop])
            start = stop
        return batches


def _check_largest(frames: Sequence[AtomicData], loads: np.ndarray, size: int, what: str) -> None:
    largest = int(loads.argmax()) if len(loads) else 0
    if len(loads) and loads[largest] > size:
        raise ConfigError(
            f"data.batch_size={size} {what}, but {frames[largest].place} alone has {loads[largest]} (the mean is "
            f"{loads.mean():.0f}). Set data.batch_size to at least {loads[largest]}, or leave such frames out."
        )


PACKINGS: dict[str, Callable[..., Packing]] = {
    "structures": ByCount,
    "atoms": lambda frames, size, **options: ByLoad(frames, size, "atoms", **options),
    "edges": lambda frames, size, **options: ByLoad(frames, size, "edges", **options),
}
"""By ``data.batch_by``."""


def least_loaded(loads: np.ndarray, number: int) -> list[np.ndarray]:
    """Each item in turn goes to the bin with the least load; the places of the items of each bin, ascending.

    No bin ends more than one item above the mean.

    Args:
        loads: In the order in which they are given out, (M,).
        number: Of bins.
    """
    heap = [(0, index) for index in range(number)]
    chosen = np.empty(len(loads), dtype=np.int64)
    for place, load in enumerate(loads.tolist()):
        total, index = heap[0]
        chosen[place] = index
        heapq.heapreplace(heap, (total + load, index))
    by_bin = np.argsort(chosen, kind="stable")
    return np.split(by_bin, np.cumsum(np.bincount(chosen, minlength=number))[:-1])


def divide(work: np.ndarray, number: int) -> list[np.ndarray]:
    """Shares of nearly equal work: places in ``work`` (M,) of each share, ascending; the first has the largest item.

    Args:
        work: Of each structure of a batch.
        number: Of shares; with fewer structures some are empty.
    """
    order = np.argsort(-work, kind="stable")
    return [np.sort(order[places]) for places in least_loaded(work[order], number)]
