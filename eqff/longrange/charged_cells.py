"""Periodic structures with a net charge: what makes their energy finite, and whether one wants that."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.errors import ConfigError, ModelError, did_you_mean

log = logging.getLogger(__name__)

ChargedCell = Literal["background", "refuse"]

CHARGED = 1e-3
"""e; more than the rounding of float32 charges of some thousand atoms leaves."""


class ChargedCells(ABC):
    """What is done with periodic structures that have a net charge."""

    def check(self, graph: AtomicGraph, totals: Tensor) -> None:
        """Looks at the net charge of each structure, (B,) in e.

        Raises:
            ModelError: It is refused.
        """
        charged = (totals.detach().abs() > CHARGED) & graph.pbc.any(dim=1)
        if bool(charged.any()):
            self.met(graph.pbc.sum(dim=1), totals.detach(), charged)

    @abstractmethod
    def met(self, dimensions: Tensor, totals: Tensor, charged: Tensor) -> None:
        """With the number of periodic directions, the net charge and whether it counts of each structure, (B,)."""


class Background(ChargedCells):
    """Crystals get a uniform neutralising background, slabs and wires a convention (docs/electrostatics.md).

    Of slabs and wires that is told once, because neither their energy nor their stress is comparable to that of
    another charge or cell.
    """

    def __init__(self) -> None:
        self._told = False

    def met(self, dimensions: Tensor, totals: Tensor, charged: Tensor) -> None:
        """See `ChargedCells.met`."""
        low = charged & (dimensions < 3)
        if self._told or not bool(low.any()):
            return
        self._told = True
        first = int(low.nonzero()[0])
        log.warning(
            "Structure %d of a batch is periodic in %d direction(s) and has a charge of %.3g e. Its energy is with "
            "respect to a convention (docs/electrostatics.md, Limits): forces mean something, and energies at one "
            "cell and one charge; stress does not. charged_cell=refuse makes this an error.",
            first,
            int(dimensions[first]),
            float(totals[first]),
        )


class RefuseCharged(ChargedCells):
    """A charged periodic structure is an error."""

    def met(self, dimensions: Tensor, totals: Tensor, charged: Tensor) -> None:
        """See `ChargedCells.met`."""
        first = int(charged.nonzero()[0])
        raise ModelError(
            f"Structure {first} of the batch is periodic in {int(dimensions[first])} direction(s) and has a net charge "
            f"of {float(totals[first]):.3g} e; there are {int(charged.sum())} such structures. Leave them out, correct "
            "total_charge, or allow a neutralising background: charged_cell=background."
        )


def charged_cells(name: str) -> ChargedCells:
    """By its name in configs: "background" or "refuse".

    Raises:
        ConfigError: There is no such way.
    """
    ways: dict[str, type[ChargedCells]] = {"background": Background, "refuse": RefuseCharged}
    if name not in ways:
        raise ConfigError(f"charged_cell: no '{name}'.{did_you_mean(name, ways)}")
    return ways[name]()


def net_charge(graph: AtomicGraph, charges: Tensor) -> Tensor:
    """Of each structure in e, (B,)."""
    zero = torch.zeros(graph.num_structures, dtype=torch.float64, device=charges.device)
    return zero.index_add(0, graph.batch, charges.detach().to(torch.float64))
