"""Interactions of neighbours alone, without lattice sums: how reactive force fields treat charges."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.errors import ModelError
from eqff.longrange.interaction import BoundInteraction, Interaction
from eqff.longrange.kernels import Kernel
from eqff.units import COULOMB_CONSTANT


class NeighbourInteraction(Interaction):
    """What all of them share: pairs up to a cutoff, in open and periodic structures alike.

    Args:
        cutoff: Å.
    """

    def __init__(self, cutoff: float):
        self.cutoff = cutoff
        self.list_name = f"coulomb_{cutoff:g}".replace(".", "_")
        self.neighbour_lists = {self.list_name: cutoff}

    @abstractmethod
    def pair(self, lengths: Tensor, first: Tensor | None, second: Tensor | None) -> Tensor:
        """A_ij / k_e in 1/Å for distances (E,) within the cutoff and the widths of both charges, (E,)."""

    def own(self) -> float:
        """A_ii / k_e in 1/Å, as far as it is not part of the hardness."""
        return 0.0

    def check(self, graph: AtomicGraph, widths: Tensor | None = None) -> None:
        """Every geometry will do."""

    def bind(self, graph: AtomicGraph, widths: Tensor | None = None) -> BoundInteraction:
        """See `Interaction.bind`."""
        edges = graph.edges[self.list_name]
        lengths = edges.lengths.to(torch.float64)
        within = lengths < self.cutoff
        of_pair: tuple[Tensor | None, Tensor | None] = (None, None)
        if widths is not None:
            widths = widths.to(torch.float64)
            of_pair = widths[edges.receiver], widths[edges.sender]
        # a length within stands in for those beyond, whose values are thrown away
        pair = self.pair(torch.where(within, lengths, self.cutoff), *of_pair)
        own = torch.full((graph.num_atoms,), COULOMB_CONSTANT * self.own(), dtype=torch.float64, device=lengths.device)
        return BoundInteraction(
            sender=edges.sender,
            receiver=edges.receiver,
            pair=COULOMB_CONSTANT * torch.where(within, pair, 0.0),
            diagonal=own,
            sums=(),
            batch=graph.batch,
            num_structures=graph.num_structures,
            members=graph.members,
        )


class ShieldedInteraction(NeighbourInteraction):
    """Tap(r / cutoff) / (r³ + (w_i w_j)^(3/2))^(1/3), the charges of ReaxFF.

    Tap(x) = 1 - 35 x⁴ + 84 x⁵ - 70 x⁶ + 20 x⁷ ends it with three continuous derivatives. The widths w are 1/gamma,
    where force-field files give gamma in 1/Å. [van Duin et al., J. Phys. Chem. A 105, 9396 (2001); Nakano, Comput.
    Phys. Commun. 104, 59 (1997)]
    """

    def pair(self, lengths: Tensor, first: Tensor | None, second: Tensor | None) -> Tensor:
        """See `NeighbourInteraction.pair`.

        Raises:
            ModelError: The charges have no widths.
        """
        if first is None or second is None:
            raise ModelError("Shielded charges need widths (1/gamma, Å); none are given.")
        x = lengths / self.cutoff
        taper = 1 + x**4 * (-35 + x * (84 + x * (-70 + 20 * x)))
        return taper * (lengths**3 + (first * second) ** 1.5) ** (-1 / 3)


class CutInteraction(NeighbourInteraction):
    """Any kernel's pairs, ended abruptly: energies jump at the cutoff. For comparison with programs that do this.

    Args:
        kernel: What acts between two charges.
        cutoff: Å.
        damping: alpha in 1/Å: 1/r is replaced by erfc(alpha r)/r, and every charge gets
            -(erfc(alpha cutoff)/cutoff + 2 alpha/sqrt(pi)) with itself, as in Wolf's sum. None for neither.
    """

    def __init__(self, kernel: Kernel, cutoff: float, damping: float | None = None):
        super().__init__(cutoff)
        self.kernel, self.damping = kernel, damping

    def pair(self, lengths: Tensor, first: Tensor | None, second: Tensor | None) -> Tensor:
        """See `NeighbourInteraction.pair`."""
        bare = 1 / lengths if self.damping is None else torch.erfc(self.damping * lengths) / lengths
        return bare - self.kernel.complement(lengths, first, second)

    def own(self) -> float:
        """See `NeighbourInteraction.own`."""
        if self.damping is None:
            return 0.0
        end = torch.tensor(self.cutoff, dtype=torch.float64)
        return -float(torch.erfc(self.damping * end) / end) - 2 * self.damping / torch.pi**0.5
