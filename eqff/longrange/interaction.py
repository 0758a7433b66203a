"""The Coulomb interaction of one batch as a linear map: from charges to potentials, however it is summed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from eqff.data.graph import CONTACT, AtomicGraph, Edges
from eqff.errors import ModelError
from eqff.kernels.capture import capturing
from eqff.longrange.ewald import EwaldSum
from eqff.longrange.kernels import Kernel, smooth_end
from eqff.longrange.mesh import MeshSum
from eqff.longrange.padding import Padding
from eqff.longrange.periodic_sums import bind_by_size
from eqff.longrange.tuning import FADE, Splitting, cutoff_for
from eqff.nn.reduce import segment_sum
from eqff.units import COULOMB_CONSTANT

OPEN_PAIRS = "open_pairs"
"""Neighbour list of all pairs in structures without periodic directions."""


@dataclass(frozen=True)
class BoundInteraction:
    """The symmetric matrix A of a batch in eV/e², never formed unless asked for: V = A q, E = q·A·q / 2.

    Everything is float64.

    Attributes:
        sender: Of each pair, (E,).
        receiver: Likewise; both directions are present.
        pair: A_ij of pairs nearby, eV/e², (E,).
        diagonal: A_ii as far as it is not in the sums over wave vectors, eV/e², (N,).
        sums: Over wave vectors, each for some of the periodic structures.
        batch: Structure of each atom, (N,).
        num_structures: B.
        members: See `AtomicGraph`.
    """

    sender: Tensor
    receiver: Tensor
    pair: Tensor
    diagonal: Tensor
    sums: tuple[EwaldSum | MeshSum, ...]
    batch: Tensor
    num_structures: int
    members: Tensor | None = None

    @property
    def has_matrix(self) -> bool:
        """Whether `matrix` can be formed: not where a structure is summed on a mesh."""
        return all(part.has_matrix for part in self.sums)

    def potential(self, charges: Tensor) -> Tensor:
        """V at each charge in V, (N,), from charges (N,) in e."""
        near = segment_sum(self.pair * charges[self.sender], self.receiver, charges.shape[0])
        potential = near + self.diagonal * charges
        for part in self.sums:
            potential = potential + COULOMB_CONSTANT * part.potential(charges)
        return potential

    def energy(self, charges: Tensor) -> Tensor:
        """Energies in eV, (B,)."""
        pairs = self.pair * charges[self.sender] * charges[self.receiver]
        atoms = segment_sum(pairs, self.receiver, charges.shape[0]) + self.diagonal * charges.square()
        energy = 0.5 * segment_sum(atoms, self.batch, self.num_structures)
        for part in self.sums:
            energy = energy.index_add(0, part.structures, COULOMB_CONSTANT * part.energy(charges))
        return energy

    def matrix(self) -> tuple[Tensor, Padding]:
        """A of every structure, (B, n, n) with zeros in empty places, and where its atoms stand."""
        padding = Padding.whole(self.batch, self.num_structures, self.members)
        size, place = padding.index.shape[1], padding.places(self.batch)
        row = (self.batch * size + place)[self.receiver]
        near = segment_sum(self.pair, row * size + place[self.sender], self.num_structures * size * size)
        matrix = near.reshape(self.num_structures, size, size) + torch.diag_embed(padding.gather(self.diagonal))
        for part in self.sums:
            block = COULOMB_CONSTANT * part.matrix()
            grown = torch.nn.functional.pad(block, (0, size - block.shape[2], 0, size - block.shape[1]))
            matrix = matrix.index_add(0, part.structures, grown)
        return matrix, padding


class Interaction(ABC):
    """A way to sum the Coulomb interaction.

    Attributes:
        neighbour_lists: Name and cutoff (Å) of each list that it needs.
    """

    neighbour_lists: dict[str, float]

    @abstractmethod
    def bind(self, graph: AtomicGraph, widths: Tensor | None = None) -> BoundInteraction:
        """For the geometry of a batch; ``widths`` of the charges in Å, (N,), if they have any.

        Captured to be compiled, which open structures can be, it looks at no values: `check` is called beside.

        Raises:
            ModelError: The geometry is none that it can treat.
        """

    @abstractmethod
    def check(self, graph: AtomicGraph, widths: Tensor | None = None) -> None:
        """Looks at the values of what `bind` is given.

        Raises:
            ModelError: The geometry is none that it can treat.
        """


class LatticeInteraction(Interaction):
    """All pairs of open structures; Ewald's sum for periodic ones, on a mesh where they are large.

    Slabs and wires are treated as such (`eqff.longrange.lattice`). A charged three-dimensional cell has a uniform
    neutralising background; the surface term is left out (tin-foil).

    Args:
        kernel: What acts between two charges.
        cutoff: Of neighbours in periodic structures, Å.
        accuracy: What sums may leave out, see `Splitting`.
        mesh_from: Number of atoms from which on periodic structures are summed on a mesh.
        include_self: Whether a charge that is spread out has its own energy.
    """

    def __init__(
        self,
        kernel: Kernel,
        cutoff: float = 6.0,
        accuracy: float = 1e-6,
        mesh_from: int = 500,
        include_self: bool = False,
    ):
        self.kernel, self.include_self, self.mesh_from = kernel, include_self, mesh_from
        self.splitting, self.accuracy = Splitting.of(cutoff, accuracy), accuracy
        self.list_name = f"coulomb_{cutoff:g}".replace(".", "_")
        self.neighbour_lists = {OPEN_PAIRS: float("inf"), self.list_name: cutoff}

    def bind(self, graph: AtomicGraph, widths: Tensor | None = None) -> BoundInteraction:
        """See `Interaction.bind`."""
        if not capturing():
            self.check(graph, widths)
        widths = None if widths is None else widths.to(torch.float64)
        pairs = graph.edges[OPEN_PAIRS]
        sums: tuple[EwaldSum | MeshSum, ...] = ()
        sender, receiver, pair = pairs.sender, pairs.receiver, self._open(pairs, widths)
        own = torch.zeros_like(graph.batch, dtype=torch.float64)
        if not graph.open:
            near, periodic = graph.edges[self.list_name], graph.pbc.any(dim=1)[graph.batch]
            sender, receiver = torch.cat([sender, near.sender]), torch.cat([receiver, near.receiver])
            pair = torch.cat([pair, self._near(near, widths, periodic)])
            own = periodic.to(torch.float64) * (-2 * self.splitting.alpha / torch.pi**0.5)
            sums = bind_by_size(graph, EwaldSum, MeshSum, self.mesh_from, self.splitting, self.accuracy)
        spread = self.kernel.self_interaction(widths) if self.include_self else None
        return BoundInteraction(
            sender=sender,
            receiver=receiver,
            pair=COULOMB_CONSTANT * pair,
            diagonal=COULOMB_CONSTANT * (own if spread is None else own + spread),
            sums=sums,
            batch=graph.batch,
            num_structures=graph.num_structures,
            members=graph.members,
        )

    def check(self, graph: AtomicGraph, widths: Tensor | None = None) -> None:
        """See `Interaction.check`."""
        require_apart(graph.edges[OPEN_PAIRS], graph.batch)
        if graph.open:
            return
        periodic = graph.pbc.any(dim=1)
        if bool(periodic.any()):
            self.require_reach(None if widths is None else widths[periodic[graph.batch]].to(torch.float64))
        require_apart(graph.edges[self.list_name], graph.batch)

    def _open(self, edges: Edges, widths: Tensor | None) -> Tensor:
        lengths = edges.lengths.to(torch.float64)
        return 1 / lengths - self.kernel.complement(lengths, *_of_pair(widths, edges))

    def _near(self, edges: Edges, widths: Tensor | None, periodic: Tensor) -> Tensor:
        lengths = edges.lengths.to(torch.float64)
        cutoff = self.splitting.cutoff
        pair = torch.erfc(self.splitting.alpha * lengths) / lengths
        pair = pair - self.kernel.complement(lengths, *_of_pair(widths, edges))
        inside = periodic[edges.receiver]  # open structures have all their pairs already
        return torch.where(inside, pair * smooth_end(lengths, FADE * cutoff, cutoff), 0.0)

    def require_reach(self, widths: Tensor | None) -> None:
        """Raises ModelError if what the kernel takes from 1/r reaches beyond the neighbours; widths in Å, (N,)."""
        extent, end = self.kernel.extent(widths, self.accuracy), FADE * self.splitting.cutoff
        if extent > end:
            raise ModelError(
                f"The short-range part of the Coulomb interaction reaches {extent:.2f} Å, but neighbours in periodic "
                f"structures are summed to {end:.2f} Å ({FADE:g} of the cutoff). Raise cutoff to "
                f"{cutoff_for(extent):.1f} Å, or make the charges' widths smaller."
            )


def require_apart(edges: Edges, batch: Tensor, what: str = "Coulomb interaction") -> None:
    """Raises ModelError naming two atoms that lie on each other, so that ``what`` between them is not finite."""
    lengths = edges.lengths.detach()
    together = ~(lengths > CONTACT)
    if bool(together.any()):
        edge = int(together.nonzero()[0])
        raise ModelError(
            f"Atoms {int(edges.receiver[edge])} and {int(edges.sender[edge])} of the batch (structure "
            f"{int(batch[edges.receiver[edge]])}) are {float(lengths[edge]):.2g} Å apart: their {what} is not "
            "finite. Correct the geometry."
        )


def _of_pair(widths: Tensor | None, edges: Edges) -> tuple[Tensor | None, Tensor | None]:
    return (None, None) if widths is None else (widths[edges.receiver], widths[edges.sender])
