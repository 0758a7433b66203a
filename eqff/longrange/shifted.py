"""Coulomb sums over neighbours alone that stand for the whole: Wolf's, and the damped shifted force."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.errors import ConfigError
from eqff.kernels.capture import capturing
from eqff.longrange.interaction import BoundInteraction, Interaction, require_apart
from eqff.units import COULOMB_CONSTANT


class PairInteraction(Interaction):
    """Neighbours only, with the interaction and its charge cloud ended at the cutoff: cheap, and approximate.

    Wolf's sum [Wolf et al., J. Chem. Phys. 110, 8254 (1999)] or, with ``shift_force``, the damped shifted force of
    Fennell and Gezelter [J. Chem. Phys. 124, 234104 (2006)], which is smooth at the cutoff too. Open and periodic
    structures are treated alike.

    Args:
        cutoff: Å.
        alpha: Damping, 1/Å.
        shift_force: Whether the force is shifted too. Without, it jumps at the cutoff.
    """

    def __init__(self, cutoff: float = 12.0, alpha: float = 0.2, shift_force: bool = True):
        if alpha < 0:
            raise ConfigError(f"alpha must not be negative; it is {alpha}.")
        self.cutoff, self.alpha, self.shift_force = cutoff, alpha, shift_force
        self.list_name = f"coulomb_{cutoff:g}".replace(".", "_")
        self.neighbour_lists = {self.list_name: cutoff}

    def bind(self, graph: AtomicGraph, widths: Tensor | None = None) -> BoundInteraction:
        """See `Interaction.bind`; charges are points."""
        if not capturing():
            self.check(graph)
        edges, end = graph.edges[self.list_name], self.cutoff
        lengths = edges.lengths.to(torch.float64)
        value = math.erfc(self.alpha * end) / end
        gauss = 2 * self.alpha / math.pi**0.5
        slope = (value + gauss * math.exp(-((self.alpha * end) ** 2))) / end if self.shift_force else 0.0
        pair = torch.erfc(self.alpha * lengths) / lengths - value + slope * (lengths - self.cutoff)
        own = -(value + slope * self.cutoff + gauss)
        return BoundInteraction(
            sender=edges.sender,
            receiver=edges.receiver,
            pair=COULOMB_CONSTANT * torch.where(lengths < self.cutoff, pair, 0.0),
            diagonal=torch.full((graph.num_atoms,), COULOMB_CONSTANT * own, dtype=torch.float64, device=lengths.device),
            sums=(),
            batch=graph.batch,
            num_structures=graph.num_structures,
            members=graph.members,
        )

    def check(self, graph: AtomicGraph, widths: Tensor | None = None) -> None:
        """See `Interaction.check`."""
        require_apart(graph.edges[self.list_name], graph.batch)
