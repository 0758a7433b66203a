"""One structure with its labels and neighbour lists, as a PyG `Data` object under the names of the fields table."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy

import torch
from torch import Tensor
from torch_geometric.data import Data

from eqff.data import fields as table

META = ("group", "config_type", "level_of_theory", "source", "frame")
"""What a frame remembers besides tensors: whom it belongs to, of what kind it is, how its labels were computed, from
which file it is, and where in it."""


class AtomicData(Data):
    """One structure of N atoms; a batch of them is PyG's own `Batch`.

    Inputs: ``numbers`` (N,) int64, ``positions`` (N, 3), ``cell`` (1, 3, 3), ``pbc`` (1, 3) bool, ``total_charge`` (1,)
    and ``multiplicity`` (1,), all float64 in Å and e. Among external charges also ``external_positions`` (M, 3),
    ``external_charges`` and ``external_widths`` (M,), and ``external_count`` (1,) int64. Labels stand under their field
    names, (N, ...) per atom and (1, ...) per structure, float64; where a frame lacks a label that others of its set
    have, it is NaN.

    Neighbour lists: ``edge_index`` (2, E) as [sender, receiver], sorted by receiver, with ``edge_shift`` (E, 3) for the
    local one; ``edge_index_NAME`` with ``edge_shift_NAME`` for others.

    ``group``, ``config_type``, ``level_of_theory`` and ``source`` are strings, empty where unknown; ``frame`` is the
    place in the file.
    """

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the labels that are present; all their numbers may still be NaN."""
        stored = self.to_dict()
        return tuple(name for name in table.names("label") if name in stored)

    def has(self, name: str) -> bool:
        """Whether this structure has the label and it is known here, not filled up with NaN."""
        value = self.to_dict().get(name)
        return value is not None and not bool(torch.isnan(value).all())

    @property
    def place(self) -> str:
        """Where it comes from, for messages."""
        return f"{self.source or 'structure'}, frame {self.frame}"


def fill_missing_labels(frames: Iterable[AtomicData]) -> tuple[str, ...]:
    """Gives every frame the labels that any of the frames has, NaN where unknown, so that they can be batched.

    Returns:
        The names of all labels.
    """
    frames = list(frames)
    present = {name for frame in frames for name in frame.labels}
    labels = tuple(name for name in table.names("label") if name in present)
    shapes = {name: next(frame[name].shape[1:] for frame in frames if name in frame.labels) for name in labels}
    for frame in frames:
        for name in sorted(set(labels).difference(frame.labels)):
            rows = frame.num_nodes if table.field(name).level == "atom" else 1
            frame[name] = torch.full((rows, *shapes[name]), torch.nan, dtype=torch.float64)
    return labels


def without_labels(frame: AtomicData) -> AtomicData:
    """The same structure with every label NaN: nothing that is computed for it enters a loss or an error."""
    unlabelled = copy(frame)
    for name in frame.labels:
        unlabelled[name] = torch.full_like(frame[name], torch.nan)
    return unlabelled


def known_rows(values: Tensor) -> Tensor:
    """Which rows of a label are known: (M,) bool, False where a frame lacked the label."""
    return ~torch.isnan(values.reshape(values.shape[0], -1)).any(dim=1)
