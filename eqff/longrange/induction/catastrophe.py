"""The polarization catastrophe: dipoles so close that they would raise each other without end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from eqff.errors import ModelError
from eqff.longrange.multipoles.bound import BoundMultipoles
from eqff.longrange.multipoles.damping import Damping, isotropic

_TOLD = 5  # structures in one message
_REMEDY = (
    "Dipoles would raise each other without end. Lower the polarizabilities or Thole's a (a smaller one damps more), "
    "or correct the geometry."
)


def pair_couplings(bound: BoundMultipoles, sizes: Tensor, damping: Damping) -> Tensor:
    """√(alpha_i alpha_j) times the dipole tensor of each pair nearby: its largest absolute eigenvalue, (E,).

    Two atoms alone have no stable dipoles where it reaches 1. [Applequist et al., J. Am. Chem. Soc. 94, 2952 (1972)]

    Args:
        bound: The geometry.
        sizes: alpha in Å³, (N,).
        damping: Of dipoles with each other.
    """
    near = bound.nearby
    _, three, five = damping.scales(near.lengths, near.first, near.second, 3)
    along, across = (3 * five - three).abs(), three.abs()
    size = (sizes[near.first] * sizes[near.second]).clamp(min=0).sqrt()
    return size * torch.maximum(along, across) / near.lengths**3


@dataclass(frozen=True)
class CoupledPairs:
    """The couplings of a batch, for messages and for a first check.

    Attributes:
        bound: The geometry.
        polarizabilities: alpha in Å³, (N, 3, 3).
        damping: Of dipoles with each other.
    """

    bound: BoundMultipoles
    polarizabilities: Tensor
    damping: Damping

    def require_stable(self) -> None:
        """Raises ModelError if two atoms alone are unstable already, which an iteration may never meet.

        Of tensors the smallest principal value is taken, which refuses nothing that is stable.
        """
        near, graph = self.bound.nearby, self.bound.graph
        couplings = self._couplings(self._principal()[:, 0]).nan_to_num(nan=torch.inf)
        largest = couplings.new_zeros(graph.num_structures)
        largest = largest.scatter_reduce(0, graph.batch[near.first], couplings, "amax")
        bad = (largest >= 1).nonzero()[:, 0].tolist()
        if bad:
            raise ModelError(self.refusal({structure: 1 - float(largest[structure]) for structure in bad}))

    def refusal(self, eigenvalues: Mapping[int, float]) -> str:
        """The message on structures that have no minimum, each with its most coupled pair.

        Args:
            eigenvalues: By number of the structure, one of 1 - √alpha T √alpha / k_e that is not positive.
        """
        told = [
            f"The induction of structure {structure} of the batch has no minimum, a polarization catastrophe: an "
            f"eigenvalue of 1 - √α T √α is {value:.4g}. {self.most_coupled(structure)}"
            for structure, value in list(eigenvalues.items())[:_TOLD]
        ]
        more = len(eigenvalues) - len(told)
        return " ".join([*told, f"{more} more structures have none either. {_REMEDY}" if more else _REMEDY])

    def most_coupled(self, structure: int) -> str:
        """The pair of a structure that is coupled most, with its distance; empty where no atoms are near."""
        near, graph = self.bound.nearby, self.bound.graph
        mine = (graph.batch[near.first] == structure).nonzero()[:, 0]
        if not len(mine):
            return ""
        couplings = self._couplings(isotropic(self.polarizabilities))[mine]
        pair = mine[couplings.argmax()]
        first_atom = int((graph.batch < structure).sum())
        names = " and ".join(
            f"{int(atom) - first_atom} (Z={int(graph.numbers[atom])})" for atom in (near.first[pair], near.second[pair])
        )
        return (
            f"Most coupled are its atoms {names}, {float(near.lengths[pair]):.3f} Å apart: "
            f"{float(couplings.max()):.3g}, where 1 is a catastrophe of these two alone."
        )

    def explain(self, structure: int) -> str:
        """What to add to a message that names the structure already."""
        return " ".join(["A polarization catastrophe.", self.most_coupled(structure), _REMEDY])

    def largest_couplings(self) -> Tensor:
        """`pair_couplings` of the largest principal values, which bound what the tensors do, without derivatives."""
        return self._couplings(self._principal()[:, 2])

    def _couplings(self, sizes: Tensor) -> Tensor:
        return pair_couplings(self.bound, sizes, self.damping).detach()

    def _principal(self) -> Tensor:
        """Principal values of the tensors, ascending, (N, 3)."""
        return torch.linalg.eigvalsh(self.polarizabilities.detach())
