"""Hirshfeld volume ratios, by which dispersion scales free atoms to those in a molecule."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.errors import ConfigError
from eqff.heads.bounded_factor import BoundedFactor
from eqff.heads.formal_charges import by_element
from eqff.parts import Fields, Head
from eqff.ranges import Positive, Size


class VolumeRatios(BoundedFactor):
    """v_i = v0(Z_i) exp(L tanh(x_i / L)), with x read from the scalars of every pass; x = 0 before training.

    So v is positive and stays within v0 / exp(L) and v0 exp(L), because with atoms much larger than real ones dipoles
    polarize each other without bound. Volumes were predicted for pairwise dispersion by
    Muhli et al. [Phys. Rev. B 104, 054106 (2021)] and for many-body dispersion by Poier et al. [J. Phys. Chem. Lett.
    13, 4381 (2022)].

    Args:
        channels: Channels of the backbone.
        num_passes: Passes of the backbone.
        elements: Atomic numbers covered.
        hidden: Width of the nonlinear readout; 0 for a linear one alone.
        start: v0 by element symbol or atomic number; 1 for elements that it leaves out.
        largest_factor: exp(L).

    Raises:
        ConfigError: A start that is not positive, or an element that does not exist.
    """

    reads = ("pass_scalars", "numbers")
    writes = ("volume_ratios",)

    def __init__(
        self,
        channels: int,
        num_passes: int,
        elements: tuple[int, ...],
        hidden: Size = 32,
        start: Mapping[str | int, float] | None = None,
        largest_factor: Annotated[float, Gt(1)] = 1.7,
    ):
        super().__init__(channels, num_passes, hidden)
        self.limit = math.log(largest_factor)
        start = dict.fromkeys(elements, 1.0) | dict(start or {})
        self.register_buffer("start", _ratios(start, elements), persistent=False)

    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """``volume_ratios``, (N,)."""
        return {"volume_ratios": self.start[graph.numbers] * self.factor(fields, self.limit)}


class TabulatedVolumeRatios(Head):
    """v_i = v(Z_i): the same for every atom of an element, given by the user.

    Args:
        ratios: v by element symbol or atomic number.
        elements: Atomic numbers covered; each needs one.

    Raises:
        ConfigError: An element without a ratio, or one that is not positive.
    """

    reads = ("numbers",)
    writes = ("volume_ratios",)

    def __init__(self, ratios: Mapping[str | int, Positive], elements: tuple[int, ...]):
        super().__init__()
        self.register_buffer("table", _ratios(ratios, elements), persistent=False)

    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """``volume_ratios``, (N,)."""
        return {"volume_ratios": self.table.to(graph.positions.dtype)[graph.numbers]}


def _ratios(values: Mapping[str | int, float], elements: tuple[int, ...]) -> Tensor:
    table = by_element(values, elements, "volume ratios")
    if not bool((table[list(elements)] > 0).all()):
        raise ConfigError(f"volume ratios: {dict(values)} are not all above 0.")
    return table.to(torch.get_default_dtype())
