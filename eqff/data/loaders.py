"""Loaders: batches of structures in an order that depends on seed and epoch alone, each shared among ranks."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence, Sized
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler
from torch_geometric.data import Batch

from eqff.data.atomic_data import AtomicData, without_labels
from eqff.data.frame_sequence import FrameSequence, as_frames
from eqff.data.packing import PACKINGS, Packing, divide, measure


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

    def set_epoch(self, epoch: int) -> None:
        """The next iteration is that of this epoch."""
        self.epoch = epoch

    def order(self) -> np.ndarray:
        """This epoch's permutation; the next call gives the next epoch's."""
        generator = np.random.default_rng([self.seed, self.epoch])
        self.epoch += 1
        return generator.permutation(len(self.data))

    def __iter__(self) -> Iterator[int]:
        yield from self.order().tolist()

    def __len__(self) -> int:
        return len(self.data)


class RankBatches(Sampler[list[int]]):
    """The batches of an epoch, of each the share of one rank.

    Batches are those of the whole training, whatever the number of ranks: with more ranks, shares are smaller. Every
    structure is in exactly one batch, and of each batch in exactly one share. All ranks have equally many batches;
    a share may be empty.

    Args:
        sampler: The epoch's order; None for the order of the data.
        packing: Makes batches of an order.
        work: Of each structure, by which shares are made equal, (M,).
        rank: Whose shares these are.
        world_size: How many ranks there are.
    """

    def __init__(
        self, sampler: EpochShuffle | None, packing: Packing, work: np.ndarray, rank: int = 0, world_size: int = 1
    ):
        self.sampler = sampler
        self.packing = packing
        self.work = work
        self.rank = rank
        self.world_size = world_size
        self.skip = 0

    def __iter__(self) -> Iterator[list[int]]:
        order = np.arange(len(self.work)) if self.sampler is None else self.sampler.order()
        batches = self.packing.batches(order)
        skip, self.skip = self.skip, 0
        for number, batch in enumerate(batches[skip:], start=skip):
            if self.world_size == 1:
                yield batch.tolist()
            else:
                shares = divide(self.work[batch], self.world_size)
                # the fullest share goes around
                yield batch[shares[(self.rank + number) % self.world_size]].tolist()

    def __len__(self) -> int:
        return len(self.packing)


class Structures(Dataset):
    """Batches by lists of indices of structures; an empty list gives one structure without labels, so that a rank
    without a share has something to compute that counts for nothing.

    Args:
        frames: The structures.
    """

    def __init__(self, frames: FrameSequence):
        self.frames = frames

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> AtomicData:
        return self.frames[index]

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        return self.frames.batch(indices) if len(indices) else without_labels(self.frames.batch([0]))


def _as_it_is(batch: Batch) -> Batch:
    return batch


class ResumableLoader(DataLoader):
    """A loader over `RankBatches` that can go on within an epoch.

    Lightning keeps `state_dict` in its checkpoints and gives it back before the first epoch of a resumed training. It
    counts batches of the whole training, so it means the same to any number of ranks.
    """

    batches_done = 0
    batches_to_skip = 0
    seconds_waited = 0.0
    """What all batches together took to come, for metrics."""

    def __iter__(self) -> Iterator[Any]:
        # all of this happens at the first batch, after Lightning has told the sampler which epoch it is
        self.batches_done, self.batches_to_skip = self.batches_to_skip, 0
        self.batch_sampler.skip = self.batches_done
        asked = time.perf_counter()
        for batch in super().__iter__():
            self.batches_done += 1
            self.seconds_waited += time.perf_counter() - asked
            yield batch
            asked = time.perf_counter()

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
    batch_by: str = "structures",
    shuffle: bool = False,
    seed: int = 0,
    num_workers: int = 0,
    drop_last: bool = False,
    rank: int = 0,
    world_size: int = 1,
) -> DataLoader:
    """A loader of batches of structures that have their neighbour lists.

    Args:
        frames: The structures.
        batch_size: Size of a batch, of all ranks together, in what ``batch_by`` says.
        batch_by: "structures": so many in each batch. "atoms" or "edges": at most so many in each batch.
        shuffle: A new order every epoch; else the order of the frames.
        seed: Of the order.
        num_workers: Processes that put batches together; 0 does it in this one, which for structures in memory is
            faster.
        drop_last: Leave out a last batch that is not full (never the only one); only with "structures".
        rank: Whose share of each batch to load.
        world_size: Among how many ranks batches are shared.

    Raises:
        ConfigError: A structure is larger than a batch may be.
    """
    sampler = EpochShuffle(frames, seed) if shuffle else None
    packing = PACKINGS[batch_by](frames, batch_size, drop_last=drop_last, shuffled=shuffle)
    balanced = "edges" if batch_by == "structures" else batch_by
    work = measure(frames, balanced) if world_size > 1 else np.ones(len(frames))
    kind = ResumableLoader if shuffle else DataLoader
    return kind(
        Structures(as_frames(frames)),
        batch_sampler=RankBatches(sampler, packing, work, rank, world_size),
        collate_fn=_as_it_is,  # the structures come as a batch
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        # its own: a loader takes a number whenever it starts, so a resumed run would take one more from torch's
        generator=torch.Generator().manual_seed(seed),
    )
