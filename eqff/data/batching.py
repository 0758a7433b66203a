"""Fast batching: PyG's `Batch` put together by one concatenation per field.

The result is what ``Batch.from_data_list`` gives (a test compares them); PyG works attribute by attribute through
recursive checks, which takes longer than a small model's energy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

import torch
from torch import Tensor
from torch_geometric.data import Batch

from eqff.data.atomic_data import AtomicData
from eqff.data.external import COUNT, nothing
from eqff.errors import DataError


def collate(frames: Sequence[AtomicData]) -> Batch:
    """A batch of structures, in their order.

    Args:
        frames: With the same labels and neighbour lists (see `fill_missing_labels`).

    Raises:
        DataError: They differ in what they have.
    """
    columns = [frame.to_dict() for frame in frames]
    if any(COUNT in column for column in columns):  # external charges around some of them
        columns = [column if COUNT in column else column | nothing() for column in columns]
    names = columns[0].keys()
    for column, frame in zip(columns, frames, strict=True):
        if column.keys() != names:
            difference = ", ".join(sorted(column.keys() ^ names))
            other = frames[0].place
            raise DataError(f"{frame.place}: can't be batched with {other}, only one of them has {difference}.")
    sizes = [column["num_nodes"] for column in columns]
    offsets = [0, *accumulate(sizes)]
    ones = [1] * len(frames)
    fields: dict[str, tuple[Tensor | list, Sequence[int]]] = {}
    for name in names:
        values = [column[name] for column in columns]
        if name == "num_nodes":
            continue
        if not isinstance(values[0], Tensor):
            fields[name] = (torch.tensor(values) if isinstance(values[0], int) else values, ones)
        elif name.startswith("edge_index"):
            shifted = [value + offset for value, offset in zip(values, offsets, strict=False)]
            fields[name] = (torch.cat(shifted, dim=1), [value.shape[1] for value in values])
        else:
            fields[name] = (torch.cat(values), [value.shape[0] for value in values])
    return assemble(type(frames[0]), fields, sizes)


def assemble(
    kind: type[AtomicData], fields: Mapping[str, tuple[Tensor | list, Sequence[int]]], sizes: Sequence[int]
) -> Batch:
    """A batch of structures whose fields are put together already.

    Args:
        kind: Of the structures.
        fields: By name, the batch's value, and how many rows (of neighbour lists: edges) each structure has in it.
        sizes: Atoms of each structure.
    """
    sizes = [int(size) for size in sizes]
    bounds = _Bounds()
    ptr = bounds(sizes)
    batch = Batch(_base_cls=kind)
    batch._store._num_nodes, batch.num_nodes = sizes, int(ptr[-1])
    slices: dict[str, Tensor] = {}
    increments: dict[str, Tensor | None] = {"num_nodes": None}
    for name, (value, counts) in fields.items():
        batch[name], slices[name] = value, bounds(counts)
        increments[name] = ptr[:-1] if name.startswith("edge_index") else None
    batch.batch = torch.repeat_interleave(torch.tensor(sizes), output_size=batch.num_nodes)
    batch.ptr = ptr
    batch._num_graphs, batch._slice_dict, batch._inc_dict = len(sizes), slices, increments
    return batch


class _Bounds:
    """Where each structure's rows begin and end, made once for fields of equal row counts."""

    def __init__(self):
        self._known: dict[tuple[int, ...], Tensor] = {}

    def __call__(self, counts: Sequence[int]) -> Tensor:
        key = tuple(int(count) for count in counts)
        if key not in self._known:
            self._known[key] = torch.tensor([0, *accumulate(key)])
        return self._known[key]
