"""A model on batches of structures that move: states settled once, neighbour lists kept, everything in one call."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from eqff.data.graph import LOCAL, AtomicGraph, graph_from_tensors
from eqff.errors import DataError, ModelError
from eqff.interfaces.batched.lists import BatchLists, Geometry
from eqff.interfaces.batched.states import BatchStates
from eqff.interfaces.state import require_state, stated
from eqff.interfaces.unseen import UnseenStates
from eqff.outside import Outside
from eqff.potential import Potential

_REMEDY = "Give total_charge=0, multiplicity=1 for all structures, or lists with one of each"


class BatchedModel:
    """Energies and derivatives of all structures of a batch, step by step.

    Args:
        potential: Where it computes.
        states: Charge and multiplicity of each structure.
        skin: Å; see `BatchLists`.
        outside: What happens on states that training had not.

    Attributes:
        neighbours: The lists.
    """

    def __init__(self, potential: Potential, states: BatchStates, skin: float, outside: Outside):
        self.potential, self.states, self.outside = potential, states, outside
        self.neighbours = BatchLists(potential.neighbour_lists, skin)
        self._unseen = UnseenStates()
        self._said: dict[str, Tensor] | None = None
        self._settled: dict[str, Tensor] = {}

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.potential.buffers()).device

    def __call__(self, structures: Mapping[str, Tensor], *, forces: bool, stress: bool) -> dict[str, Tensor]:
        """The prediction of `Potential`.

        Args:
            structures: ``numbers`` (N,) int64, ``positions`` (N, 3) in Å, ``cell`` (B, 3, 3) with lattice vectors as
                rows in Å, ``pbc`` (B, 3) bool, ``batch`` (N,) int64, ascending; of the precision and on the device of
                the model. ``total_charge`` and ``multiplicity`` (B,), or what ``info`` of ASE may call them, where
                the batch says them itself.
            forces: Whether to differentiate.
            stress: Whether to give the stress too.

        Raises:
            DataError: Positions or cells that are not finite; atoms on each other; impossible charges or
                multiplicities.
            ModelError: Tensors of another precision or device; an element that the model does not cover; a refused
                state.
        """
        return self.potential(self._graph(structures), forces=forces, stress=stress, create_graph=False)

    def _graph(self, structures: Mapping[str, Tensor]) -> AtomicGraph:
        fixed = self._fixed(structures)
        positions = structures["positions"].detach()
        # a slab's vacuum counts for its stress, as everywhere; the box around a molecule means nothing
        whole = torch.where(fixed["pbc"].any(dim=1)[:, None, None], structures["cell"].detach(), 0.0)
        cell = torch.where(fixed["pbc"][:, :, None], whole, 0.0)
        if not bool(torch.isfinite(positions).all() & torch.isfinite(whole).all()):
            raise DataError("Some positions or cells are not finite numbers. What moved the atoms went wrong before.")
        positions, lists = self.neighbours(Geometry(positions, cell, fixed["pbc"], fixed["batch"]))
        tensors = {**fixed, "positions": positions, "cell": whole}
        for name, pairs in lists.items():
            suffix = "" if name == LOCAL else f"_{name}"
            tensors |= {f"edge_index{suffix}": pairs.index, f"edge_shift{suffix}": pairs.shift}
        return graph_from_tensors(tensors, self.potential.dtype)

    def _fixed(self, structures: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What stays while the batch has the same structures."""
        said = {name: structures[name] for name in ("numbers", "batch", "pbc", *stated(structures))}
        if self._said is None or not _equal(self._said, said):
            self._require_place(structures["positions"])
            settled = {name: value.clone() for name, value in said.items()}
            self._settled, self._said = settled | self._charges(structures), settled
        return self._settled

    def _require_place(self, positions: Tensor) -> None:
        if (positions.dtype, positions.device.type) != (self.potential.dtype, self.device.type):
            raise ModelError(
                f"The model computes in {self.potential.dtype} on {self.device}, but positions are {positions.dtype} "
                f"on {positions.device}. Make them so, or choose dtype and device of the model."
            )

    def _charges(self, structures: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Total charge and multiplicity of each structure, settled and checked."""
        sizes = torch.bincount(structures["batch"], minlength=len(structures["cell"])).tolist()
        if 0 in sizes:
            raise DataError(f"Structure {sizes.index(0)} of the batch has no atoms.")
        numbers = np.split(structures["numbers"].cpu().numpy(), np.cumsum(sizes)[:-1])
        settled = []
        said = {name: values.tolist() for name, values in stated(structures).items()}
        for place, (structure, given) in enumerate(zip(numbers, self.states(numbers), strict=True)):
            info = {name: values[place] for name, values in said.items()}
            require_state(info, given.total_charge, given.multiplicity, f"structure {place} of the batch", _REMEDY)
            # elements, charge and spin alone; geometries are looked at in every step
            data = given.structure(Atoms(structure, np.zeros((len(structure), 3)), info=info))
            self._unseen.check(data, self.potential, self.outside)
            settled.append((float(data.total_charge), float(data.multiplicity)))
        table = torch.tensor(settled, dtype=torch.float64, device=structures["batch"].device)
        return {"total_charge": table[:, 0], "multiplicity": table[:, 1]}


def _equal(known: Mapping[str, Tensor], now: Mapping[str, Tensor]) -> bool:
    if known.keys() != now.keys() or any(known[name].shape != value.shape for name, value in now.items()):
        return False
    return all(bool((known[name] == value).all()) for name, value in now.items())
