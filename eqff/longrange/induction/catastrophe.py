"""The polarization catastrophe: dipoles so close that they would raise each other without end."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from eqff.errors import ModelError
from eqff.longrange.multipoles.damping import Damping
from eqff.longrange.multipoles.interaction import BoundMultipoles


def pair_couplings(bound: BoundMultipoles, isotropic: Tensor, damping: Damping) -> Tensor:
    """√(alpha_i alpha_j) times the dipole tensor of each pair nearby: its largest absolute eigenvalue, (E,).

    Two atoms alone have no stable dipoles where it reaches 1. [Applequist et al., J. Am. Chem. Soc. 94, 2952 (1972)]

    Args:
        bound: The geometry.
        isotropic: alpha in Å³, (N,).
        damping: Of dipoles with each other.
    """
    near = bound.nearby
    _, three, five = damping.scales(near.lengths, near.first, near.second, 3)
    along, across = (3 * five - three).abs(), three.abs()
    size = (isotropic[near.first] * isotropic[near.second]).clamp(min=0).sqrt()
    return size * torch.maximum(along, across) / near.lengths**3


@dataclass(frozen=True)
class CoupledPairs:
    """The couplings of a batch, for messages and for a first check.

    Attributes:
        bound: The geometry.
        isotropic: alpha in Å³, (N,).
        damping: Of dipoles with each other.
    """

    bound: BoundMultipoles
    isotropic: Tensor
    damping: Damping

    def require_stable(self) -> None:
        """Raises ModelError if two atoms alone are unstable already, which an iteration may never meet."""
        near, couplings = self.bound.nearby, self.couplings()
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
        couplings = self.couplings()[mine]
        pair = mine[couplings.argmax()]
        first_atom = int((graph.batch < structure).sum())
        names = " and ".join(
            f"{int(atom) - first_atom} (Z={int(graph.numbers[atom])})" for atom in (near.first[pair], near.second[pair])
        )
        return (
            f"{begin} Most coupled are its atoms {names}, {float(near.lengths[pair]):.3f} Å apart: "
            f"{float(couplings.max()):.3g}, where 1 is a catastrophe of these two alone. {remedy}"
        )

    def couplings(self) -> Tensor:
        """See `pair_couplings`, without derivatives."""
        return pair_couplings(self.bound, self.isotropic, self.damping).detach()


def no_minimum(structure: int, eigenvalue: float, explanation: str) -> str:
    """The message on a structure of the batch with an eigenvalue of 1 - √alpha T √alpha / k_e that is not positive."""
    return (
        f"The induction of structure {structure} of the batch has no minimum: an eigenvalue of 1 - √α T √α is "
        f"{eigenvalue:.4g}. {explanation}"
    )
