"""Which atoms belong to one molecule, from distances: groups for classical-style exclusions."""

from __future__ import annotations

import numpy as np
import torch
from ase.data import covalent_radii
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from eqff.data.fields import Field, declare
from eqff.data.graph import AtomicGraph
from eqff.parts import Fields, Head
from eqff.ranges import Positive

declare(Field("molecules", "atom", (), "0e", "", "number of the atom's molecule in its structure", "internal", True))


class Molecules(Head):
    """Atoms are bonded where they are closer than the sum of their covalent radii times a factor.

    Numbers change at once where a bond breaks, and with them every energy that leaves out pairs within molecules: for
    molecules that do not react. Radii are those of Cordero et al., Dalton Trans. 2832 (2008), as in ASE.

    Args:
        elements: Atomic numbers covered.
        stretch: The factor.
    """

    reads = ("numbers",)
    writes = ("molecules",)
    compiles = False

    def __init__(self, elements: tuple[int, ...], stretch: Positive = 1.25):
        super().__init__()
        self.stretch = stretch
        self.longest = 2 * stretch * float(max(covalent_radii[z] for z in elements))

    @property
    def neighbour_lists(self) -> dict[str, float]:
        """Up to the longest bond."""
        return {"bonds": self.longest}

    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """``molecules``, (N,) int64: the place of the molecule's first atom in its structure."""
        edges, device = graph.edges["bonds"], graph.numbers.device
        radii = torch.as_tensor(covalent_radii, dtype=edges.lengths.dtype, device=device)[graph.numbers]
        bonded = edges.lengths.detach() < self.stretch * (radii[edges.sender] + radii[edges.receiver])
        number = _first_atoms(edges.sender[bonded], edges.receiver[bonded], graph.num_atoms)
        counts = torch.bincount(graph.batch, minlength=graph.num_structures)
        return {"molecules": number.to(device) - (counts.cumsum(0) - counts)[graph.batch]}


def _first_atoms(sender: Tensor, receiver: Tensor, num_atoms: int) -> Tensor:
    """Of the connected set that each atom is in, the first atom, (N,)."""
    rows, columns = receiver.cpu().numpy(), sender.cpu().numpy()
    bonds = coo_array((np.ones(len(rows), dtype=np.int8), (rows, columns)), shape=(num_atoms, num_atoms))
    _, label = connected_components(bonds, directed=False)
    return torch.as_tensor(np.unique(label, return_index=True)[1][label])
