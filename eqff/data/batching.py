"""Fast batching: PyG's `Batch` put together by one concatenation per field.

The result is what ``Batch.from_data_list`` gives (a test compares them); PyG works attribute by attribute through
recursive checks, which takes longer than a small model's energy.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor
from torch_geometric.data import Batch

from eqff.data.atomic_data import AtomicData
from eqff.errors import DataError


def collate(frames: Sequence[AtomicData]) -> Batch:
    """A batch of structures, in their order.

    Args:
        frames: With the same labels and neighbour lists (see `fill_missing_labels`).

    Raises:
        DataError: They differ in what they have.
    """
    columns = [frame.to_dict() for frame in frames]
    names = columns[0].keys()
    for column, frame in zip(columns, frames, strict=True):
        if column.keys() != names:
            difference = ", ".join(sorted(column.keys() ^ names))
            other = frames[0].place
            raise DataError(f"{frame.place}: can't be batched with {other}, only one of them has {difference}.")
    sizes = [column["num_nodes"] for column in columns]
    offsets = [0, *accumulate(sizes)]
    bounds = _Bounds()
    ptr = bounds(sizes)
    batch = Batch(_base_cls=type(frames[0]))
    slices: dict[str, Tensor] = {}
    increments: dict[str, Tensor | None] = {}
    for name in names:
        values = [column[name] for column in columns]
        increments[name] = None
        if name == "num_nodes":
            batch._store._num_nodes, batch.num_nodes = sizes, offsets[-1]
        elif not isinstance(values[0], Tensor):
            batch[name] = torch.tensor(values) if isinstance(values[0], int) else values
            slices[name] = bounds([1] * len(frames))
        elif name.startswith("edge_index"):
            batch[name] = torch.cat([value + offset for value, offset in zip(values, offsets, strict=False)], dim=1)
            slices[name], increments[name] = bounds([value.shape[1] for value in values]), ptr[:-1]
        else:
            batch[name] = torch.cat(values)
            slices[name] = bounds([value.shape[0] for value in values])
    batch.batch = torch.repeat_interleave(torch.tensor(sizes), output_size=offsets[-1])
    batch.ptr = ptr
    batch._num_graphs, batch._slice_dict, batch._inc_dict = len(frames), slices, increments
    return batch


class _Bounds:
    """Where each structure's rows begin and end, made once for fields of equal row counts."""

    def __init__(self):
        self._known: dict[tuple[int, ...], Tensor] = {}

    def __call__(self, counts: Sequence[int]) -> Tensor:
        key = tuple(counts)
        if key not in self._known:
            self._known[key] = torch.tensor([0, *accumulate(key)])
        return self._known[key]
