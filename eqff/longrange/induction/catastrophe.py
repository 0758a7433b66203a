"""The polarization catastrophe: dipoles so close that they would raise each other without end."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from eqff.errors import ModelError
from eqff.longrange.multipoles.damping import Damping, isotropic
from eqff.longrange.multipoles.interaction import BoundMultipoles


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
        near, couplings = self.bound.nearby, self._couplings(self._principal()[:, 0])
        bad = ~(couplings < 1)
        if bool(bad.any()):
            pair = int(bad.nonzero()[0, 0])
            structure = int(self.bound.graph.batch[near.first[pair]])
            raise ModelError(no_minimum(structure, 1 - float(couplings[pair]), self.explain(structure)))

    def explain(self, structure: int) -> str:
        """The pair of a structure that is coupled most, and what to do."""
        near, graph = self.bound.nearby, self.bound.graph
        begin = "The dipoles would raise each other without end, a polarization catastrophe."
        remedy = "Lower the polarizabilities or Thole's a (a smaller one damps more), or correct the geometry."
        mine = (graph.batch[near.first] == structure).nonzero()[:, 0]
        if not len(mine):
            return f"{begin} {remedy}"
        couplings = self._couplings(isotropic(self.polarizabilities))[mine]
        pair = mine[couplings.argmax()]
        first_atom = int((graph.batch < structure).sum())
        names = " and ".join(
            f"{int(atom) - first_atom} (Z={int(graph.numbers[atom])})" for atom in (near.first[pair], near.second[pair])
        )
        return (
            f"{begin} Most coupled are its atoms {names}, {float(near.lengths[pair]):.3f} Å apart: "
            f"{float(couplings.max()):.3g}, where 1 is a catastrophe of these two alone. {remedy}"
        )

    def largest_couplings(self) -> Tensor:
        """`pair_couplings` of the largest principal values, which bound what the tensors do, without derivatives."""
        return self._couplings(self._principal()[:, 2])

    def _couplings(self, sizes: Tensor) -> Tensor:
        return pair_couplings(self.bound, sizes, self.damping).detach()

    def _principal(self) -> Tensor:
        """Principal values of the tensors, ascending, (N, 3)."""
        return torch.linalg.eigvalsh(self.polarizabilities.detach())


def no_minimum(structure: int, eigenvalue: float, explanation: str) -> str:
    """The message on a structure of the batch with an eigenvalue of 1 - √alpha T √alpha / k_e that is not positive."""
    return (
        f"The induction of structure {structure} of the batch has no minimum: an eigenvalue of 1 - √α T √α is "
        f"{eigenvalue:.4g}. {explanation}"
    )
