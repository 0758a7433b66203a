"""The graph of one structure that moves: what stays is kept, what moves is measured once, in NumPy.

A small molecule's step is so short that each operation of PyTorch counts, ten times as long as NumPy's on arrays of
this size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from eqff.data.atomic_data import AtomicData
from eqff.data.graph import STATED, AtomicGraph, Edges, graph_from_tensors
from eqff.errors import ModelError
from eqff.interfaces.skin import Pairs

_NUMPY = {torch.float32: np.float32, torch.float64: np.float64}


def require_precision(dtype: torch.dtype) -> None:
    """Raises ModelError for numbers that structures are not computed in."""
    if dtype not in _NUMPY:
        raise ModelError(
            f"Calculators compute in float32 or float64, not in {str(dtype).removeprefix('torch.')}: give "
            "dtype=torch.float32."
        )


def lasting(data: AtomicData, dtype: torch.dtype, device: torch.device) -> AtomicGraph:
    """What stays while elements, periodicity and state do: the graph without neighbours.

    Args:
        data: The structure.
        dtype: Of the model.
        device: Of the model.
    """
    tensors = {name: data[name].to(device) for name in STATED if name != "batch" and name in data}
    tensors["batch"] = torch.zeros(data["numbers"].shape[0], dtype=torch.int64, device=device)
    return graph_from_tensors(tensors, dtype)


class MovingGraph:
    """The graph of the same atoms in one geometry after the other.

    Args:
        graph: As of `lasting`.
    """

    def __init__(self, graph: AtomicGraph):
        self._graph, self._device = graph, graph.positions.device
        self._travels = self._device.type != "cpu"
        self._numbers = _NUMPY[graph.positions.dtype]
        self._cell: tuple[bytes, Tensor] | None = None
        self._lists: dict[str, tuple[Pairs, dict[str, Tensor]]] = {}

    def __call__(self, positions: np.ndarray, cell: np.ndarray, pairs: Mapping[str, Pairs]) -> AtomicGraph:
        """The graph of now.

        Args:
            positions: Å, (N, 3).
            cell: Lattice vectors as rows in Å, (3, 3).
            pairs: Neighbour lists by name.
        """
        lists = {}
        for name, found in pairs.items():
            known = self._lists.get(name)
            if known is None or not found.same_as(known[0]):
                known = self._lists[name] = found, self._whole(found)
            lists[name] = MeasuredLater(known[1], found, self._real)
        return self._graph.moved(self._real(positions), self._of_cell(cell), lists)

    def _real(self, values: np.ndarray) -> Tensor:
        # in the precision of the model before they travel; a copy, as atoms go on moving
        real = torch.from_numpy(values.astype(self._numbers))
        return real.to(self._device) if self._travels else real

    def _of_cell(self, cell: np.ndarray) -> Tensor:
        key = cell.tobytes()
        if self._cell is None or self._cell[0] != key:
            self._cell = key, self._real(cell[None])
        return self._cell[1]

    def _whole(self, found: Pairs) -> dict[str, Tensor]:
        """What stays while the same pairs are within the cutoff."""
        arrays = {"sender": found.sender, "receiver": found.receiver, "slots": found.slots}
        whole = {name: torch.from_numpy(array) for name, array in arrays.items()}
        if self._travels:
            whole = {name: tensor.to(self._device) for name, tensor in whole.items()}
        whole["shift"] = self._real(found.shift)
        return whole


class MeasuredLater(Edges):
    """Edges whose vectors and lengths become tensors when somebody reads them: models that are differentiated do not.

    Args:
        whole: The other fields.
        pairs: Know vectors and lengths.
        real: Makes them tensors.
    """

    def __init__(self, whole: Mapping[str, Tensor], pairs: Pairs, real: Callable[[np.ndarray], Tensor]):
        vars(self).update(whole, _measured=(pairs, real))  # fields of frozen classes can't be set

    def __getattr__(self, name: str) -> Tensor:
        if name not in ("vectors", "lengths"):
            raise AttributeError(f"Edges have no '{name}'.")
        pairs, real = self._measured
        return vars(self).setdefault(name, real(getattr(pairs, name)))
