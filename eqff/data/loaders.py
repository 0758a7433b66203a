"""Loaders: batches of structures in an order that depends on seed and epoch alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Sized
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Sampler

from eqff.data.atomic_data import AtomicData
from eqff.data.batching import collate


class EpochShuffle(Sampler[int]):
    """A permutation per epoch, a function of seed and epoch only: a resumed run sees the order it would have seen.

    Lightning calls `set_epoch` before every epoch; without it, epochs are counted here.

    Args:
        data: Anything with a length.
        seed: Of all permutations.
    """

    def __init__(self, data: Sized, seed: int = 0):
        self.data = data
        self.seed = seed
        self.epoch = 0
        self.skip = 0

    def set_epoch(self, epoch: int) -> None:
        """The next iteration is that of this epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(len(self.data)).tolist()
        order, self.epoch, self.skip = order[self.skip :], self.epoch + 1, 0
        yield from order

    def __len__(self) -> int:
        return len(self.data)


class ResumableLoader(DataLoader):
    """A loader over an `EpochShuffle` that can go on within an epoch.

    Lightning keeps `state_dict` in its checkpoints and gives it back before the first epoch of a resumed training.
    """

    batches_done = 0
    batches_to_skip = 0

    def __iter__(self) -> Iterator[Any]:
        # all of this happens at the first batch, after Lightning has told the sampler which epoch it is
        self.batches_done, self.batches_to_skip = self.batches_to_skip, 0
        self.sampler.skip = self.batches_done * self.batch_size
        for batch in super().__iter__():
            self.batches_done += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """How many batches of this epoch were handed out."""
        return {"batches_done": self.batches_done}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """The next epoch starts after the batches that were handed out before; a finished epoch has none left over."""
        self.batches_to_skip = state_dict["batches_done"] % len(self)


def make_loader(
    frames: Sequence[AtomicData],
    batch_size: int,
    *,
    shuffle: bool = False,
    seed: int = 0,
    num_workers: int = 0,
    drop_last: bool = False,
) -> DataLoader:
    """A loader of batches of structures that have their neighbour lists.

    Args:
        frames: The structures.
        batch_size: Structures in a batch.
        shuffle: A new order every epoch; else the order of the frames.
        seed: Of the order.
        num_workers: Processes that put batches together; 0 does it in this one, which for structures in memory is
            faster.
        drop_last: Leave out a last batch that is not full (never the only one).
    """
    kind = ResumableLoader if shuffle else DataLoader
    return kind(
        list(frames),
        batch_size=batch_size,
        sampler=EpochShuffle(frames, seed) if shuffle else None,
        collate_fn=collate,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        drop_last=drop_last and len(frames) > batch_size,
    )
