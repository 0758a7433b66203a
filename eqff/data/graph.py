"""The graph of atoms that models compute on: plain tensors, batched over structures, never edited in place."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from eqff.data.cells import exactly_transformed, volumes
from eqff.data.external import EXTERNAL, ExternalCharges, of_batch
from eqff.data.solves import COLD, ColdStarts

Made = TypeVar("Made")

LOCAL = "local"
"""Name of the neighbour list that backbones use."""

CONTACT = 1e-4
"""Å; atoms closer than this are taken for one that is there twice."""


@dataclass(frozen=True)
class Edges:
    """Directed pairs of one neighbour list, sorted by receiver; both directions of a pair are present.

    Attributes:
        sender: Atom j, (E,).
        receiver: Atom i, (E,), ascending.
        shift: Whole lattice translations of the sender, (E, 3).
        vectors: r_j - r_i + shift · cell in Å, (E, 3).
        lengths: Their norms in Å, (E,).
        slots: The same list as a table with a row for each receiver: the edge in each place, E where the row has ended,
            (N, K) with K the largest number of neighbours. Sums over neighbours become batched matrix products on it.
    """

    sender: Tensor
    receiver: Tensor
    shift: Tensor
    vectors: Tensor
    lengths: Tensor
    slots: Tensor


@dataclass(frozen=True)
class AtomicGraph:
    """A batch of B structures with N atoms in all.

    Attributes:
        numbers: Atomic numbers, (N,) int64.
        positions: Å, (N, 3).
        cell: Lattice vectors as rows in Å, (B, 3, 3); zero rows where there is none.
        pbc: (B, 3) bool.
        total_charge: e, (B,).
        multiplicity: 2S+1, (B,).
        batch: Structure of each atom, (N,) int64, ascending.
        electric_field: Uniform external field in V/Å, (B, 3); zero where there is none.
        edges: Neighbour lists by name; backbones read ``LOCAL``.
        external: Point charges around structures; None where none has any.
        fragment: Number of each atom's fragment in its structure, (N,) int64, -1 for none; None where nobody says.
        fragment_charge: Total charge of each atom's fragment in e, (N,); None where nobody says.
        members: Atoms of each structure as a table, N where it has ended, (B, n) with n the most atoms of a structure
            or more; None where nobody has made it.
        open: Whether no structure has a periodic direction, known without asking a GPU; False where nobody has looked.
        solves: Where iterative solvers begin, along a trajectory of one structure.
    """

    numbers: Tensor
    positions: Tensor
    cell: Tensor
    pbc: Tensor
    total_charge: Tensor
    multiplicity: Tensor
    batch: Tensor
    electric_field: Tensor
    edges: Mapping[str, Edges] = field(default_factory=dict)
    external: ExternalCharges | None = None
    fragment: Tensor | None = None
    fragment_charge: Tensor | None = None
    members: Tensor | None = None
    open: bool = False
    solves: ColdStarts = field(default=COLD, repr=False, compare=False)
    # not copied by `replace`: another geometry begins without
    _made: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def once(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """What follows from the geometry alone and several parts need, made by the first of them that asks.

        Args:
            key: Says what it is, with all settings that it depends on.
            make: Makes it; it must not refer to this graph, which will hold it.
        """
        key = (key, torch.is_grad_enabled())  # what was made without derivatives is none for those who need them
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    @property
    def num_atoms(self) -> int:
        """N."""
        return self.numbers.shape[0]

    @property
    def num_structures(self) -> int:
        """B."""
        return self.total_charge.shape[0]

    @property
    def volume(self) -> Tensor:
        """Cell volumes in Å³, (B,); zero where a structure has fewer than three lattice vectors."""
        return volumes(self.cell)

    @property
    def local(self) -> Edges:
        """The neighbour list that backbones use."""
        return self.edges[LOCAL]

    def moved(self, positions: Tensor, cell: Tensor, edges: Mapping[str, Edges]) -> AtomicGraph:
        """What ``replace(self, positions=..., cell=..., edges=...)`` gives, in a tenth of its time.

        Args:
            positions: Å, (N, 3).
            cell: Lattice vectors as rows in Å, (B, 3, 3).
            edges: Neighbour lists by name.
        """
        made = object.__new__(type(self))
        vars(made).update(vars(self), positions=positions, cell=cell, edges=edges, _made={})
        return made

    def deformed(
        self, positions: Tensor, strain: Tensor | None = None, external: ExternalCharges | None = None
    ) -> AtomicGraph:
        """The same graph at other positions and under a strain, every edge vector computed anew from them.

        This is the only way in which geometry enters a model, so one derivative with respect to ``positions`` and
        ``strain`` reaches positions, cell, volume and edges together.

        Args:
            positions: Å, (N, 3).
            strain: Strain tensors (B, 3, 3), of which the symmetric part acts on positions and cell, and on the
                positions of external charges; None for none.
            external: External charges at other places; None for those that it has.
        """
        cell, external = self.cell, self.external if external is None else external
        if strain is not None:
            symmetric = 0.5 * (strain + strain.transpose(1, 2))
            cell = cell + exactly_transformed(cell, symmetric[:, None])
            positions = positions + exactly_transformed(positions, symmetric[self.batch])
            external = external if external is None else external.strained(symmetric)
        edges = {
            name: _edges(old.sender, old.receiver, old.shift, old.slots, positions, cell, self.batch, self.open)
            for name, old in self.edges.items()
        }
        return replace(self, positions=positions, cell=cell, edges=edges, external=external)


def _edges(
    sender: Tensor,
    receiver: Tensor,
    shift: Tensor,
    slots: Tensor,
    positions: Tensor,
    cell: Tensor,
    batch: Tensor,
    is_open: bool,
) -> Edges:
    # several times as fast as indexing, and so are its derivatives
    vectors = positions.index_select(0, sender) - positions.index_select(0, receiver)
    if not is_open:
        # of one large structure, a cell for each edge would cost more than the rest
        cells = cell[0] if cell.shape[0] == 1 else cell.index_select(0, batch.index_select(0, receiver))
        vectors = vectors + exactly_transformed(shift, cells)
    return Edges(sender, receiver, shift, vectors, torch.linalg.vector_norm(vectors, dim=-1), slots)


def edge_slots(receiver: Tensor, num_atoms: int) -> Tensor:
    """The table `Edges.slots` of a list sorted by receiver, (N, K) int64."""
    counts = torch.bincount(receiver, minlength=num_atoms)
    places = torch.arange(int(counts.max()) if num_atoms else 0, device=receiver.device)
    first = counts.cumsum(0) - counts
    return torch.where(places < counts[:, None], first[:, None] + places, receiver.shape[0])


def graph_from_tensors(tensors: Mapping[str, Tensor], dtype: torch.dtype) -> AtomicGraph:
    """A graph from batched tensors under the names of the fields table.

    Args:
        tensors: numbers, positions, cell, pbc, total_charge, multiplicity, batch, electric_field (zero where absent),
            `eqff.data.external.EXTERNAL` where there are external charges, and for each neighbour list ``edge_index``
            (2, E) as [sender, receiver] with ``edge_shift`` (E, 3) for the local one, ``edge_index_NAME`` with
            ``edge_shift_NAME`` for others.
        dtype: Floating dtype of the computation.
    """
    positions, cell, batch = tensors["positions"].to(dtype), tensors["cell"].to(dtype), tensors["batch"]
    is_open = not bool(tensors["pbc"].any())  # asked here, as sizes of tables are, and nowhere later
    edges = {}
    for key in tensors:
        if key.startswith("edge_index"):
            name = key.removeprefix("edge_index").removeprefix("_") or LOCAL
            sender, receiver = tensors[key][0], tensors[key][1]
            shift = tensors[key.replace("edge_index", "edge_shift")].to(dtype)
            slots = edge_slots(receiver, positions.shape[0])
            edges[name] = _edges(sender, receiver, shift, slots, positions, cell, batch, is_open)
    return AtomicGraph(
        numbers=tensors["numbers"],
        positions=positions,
        cell=cell,
        pbc=tensors["pbc"],
        total_charge=tensors["total_charge"].to(dtype),
        multiplicity=tensors["multiplicity"].to(dtype),
        batch=batch,
        electric_field=_electric_field(tensors, dtype),
        edges=edges,
        external=of_batch(tensors, dtype),
        fragment=tensors.get("fragment"),
        fragment_charge=tensors["fragment_charge"].to(dtype) if "fragment_charge" in tensors else None,
        open=is_open,
    )


INPUTS = ("numbers", "positions", "cell", "pbc", "total_charge", "multiplicity", "batch", "electric_field")
"""What every graph has; compiled code takes these alone, and neighbour lists."""

FRAGMENTS = ("fragment", "fragment_charge")
"""What graphs have where structures are read as several fragments; compiled code does not take it."""

STATED = (*INPUTS, *FRAGMENTS, *EXTERNAL)
"""All keys that graphs are made of, besides neighbour lists."""


def _electric_field(tensors: Mapping[str, Tensor], dtype: torch.dtype) -> Tensor:
    if "electric_field" in tensors:
        return tensors["electric_field"].to(dtype)
    charge = tensors["total_charge"]
    return charge.new_zeros((charge.shape[0], 3), dtype=dtype)


def graph_tensors(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Of a PyG batch (or any mapping), the tensors that a graph is made of; labels stay behind."""
    wanted = [key for key in batch.keys() if key in STATED or key.startswith(("edge_index", "edge_shift"))]
    return {key: batch[key] for key in wanted}


def graph_from_batch(batch: Mapping[str, Tensor], dtype: torch.dtype) -> AtomicGraph:
    """The graph of a PyG batch; see `graph_from_tensors`."""
    return graph_from_tensors(graph_tensors(batch), dtype)
